import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.methods.feature_mse import FeatureMSE
from edgekd.models.surgery import Surgery
from tests.distill.methods.looks import maps, said, terms

KEPT = (0, 2, 3, 5)
SURGERY = Surgery(outputs={"layer0": KEPT})


def loss(student: Tensor, teacher: Tensor, surgery: Surgery | None = None, **options: str) -> float:
    return terms(FeatureMSE(**options), student, teacher, surgery)["feature_mse"].item()


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # mean (1 - 2)^2 / mean 2^2 = 1/4
    assert loss(torch.full((2, 3, 4, 4), 1.0), torch.full((2, 3, 4, 4), 2.0)) == pytest.approx(0.25)


def test_a_student_that_says_nothing_gets_1_for_each_layer() -> None:
    teacher = said(maps(0), 100 * maps(1))
    student = said(torch.zeros_like(maps(0)), torch.zeros_like(maps(1)))
    found = terms(FeatureMSE(layers="all"), student, teacher)["feature_mse"]
    assert found.item() == pytest.approx(2, rel=1e-4)


@given(st.integers(0, 10**6), st.floats(0.5, 10))
def test_loss_ignores_a_scale_that_both_share(seed: int, scale: float) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    expected = loss(student, teacher)
    assert loss(scale * student, scale * teacher) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("align", ["index", "adapter"])
def test_channels_that_pruning_kept_are_compared_with_their_own(align: str) -> None:
    teacher = maps(0)
    for channel in {0, 1, 2, 3, 4, 5} - set(KEPT):
        teacher[:, channel] = 0  # an adapter has them to learn
    assert loss(teacher[:, KEPT], teacher, SURGERY, align=align) == 0
    wrong = Surgery(outputs={"layer0": (0, 1, 2, 3)})
    assert loss(teacher[:, KEPT], teacher, wrong, align=align) > 1e-3


@pytest.mark.parametrize("channels", [3, 9])
def test_an_adapter_serves_a_student_of_another_width_and_learns_to(channels: int) -> None:
    method = FeatureMSE(align="adapter")
    student, teacher = maps(0, channels=channels), maps(1)
    first = terms(method, student, teacher)["feature_mse"]
    (weight,) = method.parameters()
    (gradient,) = torch.autograd.grad(first, weight)
    with torch.no_grad():
        weight -= 0.1 * gradient
    assert method(said(student), said(teacher), None, None)["feature_mse"] < first


def test_maps_of_different_sizes_meet_at_the_smaller_one() -> None:
    small = maps(0, side=2)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert loss(large, small) == pytest.approx(0, abs=1e-15)
    assert loss(small, large) == pytest.approx(0, abs=1e-15)


def test_a_teacher_that_says_nothing_gives_a_finite_loss() -> None:
    assert loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)) < 1e7


@pytest.mark.parametrize("align", ["index", "adapter"])
def test_gradient_agrees_with_finite_differences(align: str) -> None:
    method, teacher = FeatureMSE(align=align), maps(1, 2, 3, 2)
    student = maps(0, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: terms(method, values, teacher)["feature_mse"], student
    )


def test_channels_of_unknown_origin_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r'6 channels.*4.*align = "adapter"'):
        loss(maps(0)[:, :4], maps(1))


def test_an_unknown_alignment_is_refused() -> None:
    with pytest.raises(ValueError, match="align must be one of index, adapter"):
        FeatureMSE(align="agnostic")
