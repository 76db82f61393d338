import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill.methods.sp import SP
from tests.distill.methods.looks import maps, said, terms


def loss(student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
    return terms(SP(), student_nchw, teacher_nchw)["sp"]


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # The student tells two images apart: G = I. The teacher does not: rows (1, 1) / sqrt 2.
    # Each row gives (1 - 0.707107)^2 + 0.5 = 0.585786; 2 of them over N^2 = 4: 0.292893.
    student = torch.eye(2).view(2, 2, 1, 1)
    teacher = torch.ones(2, 3, 1, 1)
    assert loss(student, teacher).item() == pytest.approx(0.292893, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_loss_ignores_rotations_and_scale_of_the_features(seed: int, scale: float) -> None:
    student, teacher = maps(seed, side=2), maps(seed + 1, side=2)
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.linalg.qr(torch.randn(24, 24, generator=generator, dtype=torch.float64)).Q
    turned = (scale * student.flatten(1) @ mixed).view(student.shape)
    expected = loss(student, teacher).item()
    assert loss(turned, teacher).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_loss_notices_that_the_teacher_saw_the_images_in_another_order() -> None:
    assert loss(maps(0), maps(0).roll(1, dims=0)).item() > 1e-3


def test_neither_channels_nor_positions_need_to_match() -> None:
    small = maps(0, channels=3, side=2)
    wide = torch.cat([small, small], dim=1)
    assert loss(small, wide).item() < 1e-15
    assert loss(small, small.repeat(1, 1, 2, 1)).item() < 1e-15


def test_the_last_layer_counts_by_default() -> None:
    student, teacher = [maps(0), maps(1)], [maps(2), maps(3)]
    each = [loss(mine, theirs).item() for mine, theirs in zip(student, teacher, strict=True)]
    last = terms(SP(), said(*student), said(*teacher))["sp"].item()
    both = terms(SP(layers="all"), said(*student), said(*teacher))["sp"].item()
    assert last == each[1]
    assert both == pytest.approx(sum(each), rel=1e-12)


def test_one_image_teaches_nothing() -> None:
    assert loss(maps(0, images=1), maps(1, images=1)).item() == pytest.approx(0, abs=1e-15)


def test_images_without_any_feature_give_a_finite_gradient() -> None:
    student = torch.zeros(2, 3, 4, 4, requires_grad=True)
    loss(student, maps(0, 2, 3, 4).float()).backward()
    assert student.grad.isfinite().all()


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = (maps(0, 3, 2, 2) + 0.1).requires_grad_(), maps(1, 3, 4, 2)
    assert torch.autograd.gradcheck(lambda values: loss(values, teacher), student)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be one of last, stages, all"):
        SP(layers="first")
