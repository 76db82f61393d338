import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill.methods.at import AT
from tests.distill.methods.looks import maps, said, terms


def loss(student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
    return terms(AT(), student_nchw, teacher_nchw)["at"]


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # Energies 9 and 1: A = (9, 1) / sqrt 82 = (0.993884, 0.110432). The teacher's are even:
    # (1, 1) / sqrt 2. (0.286777^2 + 0.596675^2) / 2 = 0.219131.
    student = torch.tensor([[3.0, 0.0], [3.0, math.sqrt(2)]]).view(1, 2, 1, 2)
    teacher = torch.tensor([2.0, -2.0]).view(1, 1, 1, 2)
    assert loss(student, teacher).item() == pytest.approx(0.219131, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_loss_ignores_which_channel_and_scale(seed: int, scale: float) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    expected = loss(student, teacher).item()
    assert loss(scale * student[:, order], teacher).item() == pytest.approx(expected, rel=1e-9)


def test_loss_notices_a_permutation_of_positions() -> None:
    assert loss(maps(0).flip(3), maps(0)).item() > 1e-3


def test_a_narrower_student_with_the_same_mean_energy_has_nothing_to_learn() -> None:
    student = maps(0, channels=3)
    assert loss(student, torch.cat([student, student], dim=1)).item() < 1e-15


def test_the_larger_map_is_averaged_down() -> None:
    small = maps(0, side=2)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert loss(large, small).item() < 1e-15
    assert loss(small, large).item() < 1e-15


def test_the_last_map_of_each_size_counts_by_default() -> None:
    student = [maps(0), maps(1), maps(2, side=3)]
    teacher = [maps(3), maps(4), maps(5, side=3)]
    found = {
        layers: terms(AT(layers=layers), said(*student), said(*teacher))["at"].item()
        for layers in ("stages", "last", "all")
    }
    each = [loss(mine, theirs).item() for mine, theirs in zip(student, teacher, strict=True)]
    assert found["stages"] == pytest.approx(each[1] + each[2], rel=1e-12)
    assert found["last"] == pytest.approx(each[2], rel=1e-12)
    assert found["all"] == pytest.approx(sum(each), rel=1e-12)


def test_maps_of_zeros_give_a_finite_gradient() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss(student, maps(0, 2, 3, 4).float()).backward()
    assert student.grad.isfinite().all()


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = (maps(0, 2, 3, 3) + 0.1).requires_grad_(), maps(1, 2, 4, 3)
    assert torch.autograd.gradcheck(lambda values: loss(values, teacher), student)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be one of last, stages, all"):
        AT(layers="first")
