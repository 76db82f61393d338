import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.methods.attention_feature import AttentionFeature
from edgekd.models.surgery import Surgery
from tests.distill.methods.looks import maps, said, terms


def found(
    student: Tensor, teacher: Tensor, surgery: Surgery | None = None, align: str = "index"
) -> tuple[float, float]:
    """Return the terms of attention and of pooled features."""
    both = terms(AttentionFeature(align=align), student, teacher, surgery)
    return both["attention_feature"].item(), both["attention_feature_pooled"].item()


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # Energy at opposite positions: unit vectors at right angles, 2. The pooled features are those
    # of the maps, (3, 0) and (0, -2): 2 as well; with the same sign at one position: 0.
    student = torch.tensor([3.0, 0.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([0.0, -2.0]).view(1, 1, 1, 2)
    assert found(student, teacher) == pytest.approx((2, 2))
    assert found(student, -teacher.flip(3)) == pytest.approx((0, 0))
    assert found(student, teacher.flip(3)) == pytest.approx((0, 4))  # attention has no sign


def test_features_are_averaged_to_4_by_4_positions() -> None:
    student = maps(0, side=8)
    moved = student.view(3, 6, 4, 2, 4, 2).flip(3, 5).reshape(student.shape)  # within each 2x2
    attention, pooled = found(moved, student)
    assert attention > 1e-3
    assert pooled == pytest.approx(0, abs=1e-12)
    halves = student.view(3, 6, 8, 2, 4).roll(2, dims=4).view(student.shape)  # within each 4x4
    assert found(halves, student)[1] > 1e-3


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_loss_ignores_scale_and_is_at_most_4(seed: int, scale: float) -> None:
    student, teacher = maps(seed), maps(seed + 1)
    expected = found(student, teacher)
    assert found(scale * student, teacher) == pytest.approx(expected, rel=1e-9)
    assert all(0 <= value <= 4 for value in expected)


@pytest.mark.parametrize("align", ["index", "adapter"])
def test_channels_that_pruning_kept_are_compared_with_their_own(align: str) -> None:
    teacher, kept = maps(0), (0, 2, 3, 5)
    teacher[:, (1, 4)] = 0
    right = Surgery(outputs={"layer0": kept})
    wrong = Surgery(outputs={"layer0": (0, 1, 2, 3)})
    assert found(teacher[:, kept], teacher, right, align) == pytest.approx((0, 0), abs=1e-12)
    assert found(teacher[:, kept], teacher, wrong, align)[1] > 1e-3


def test_an_adapter_serves_a_student_of_another_width_and_size() -> None:
    assert all(
        value > 1e-3 for value in found(maps(0, channels=9, side=3), maps(1), None, "adapter")
    )


def test_stages_are_summed() -> None:
    student, teacher = [maps(0), maps(1, side=3)], [maps(2), maps(3, side=3)]
    each = [found(mine, theirs) for mine, theirs in zip(student, teacher, strict=True)]
    both = terms(AttentionFeature(), said(*student), said(*teacher))
    expected = [sum(values) for values in zip(*each, strict=True)]
    assert [value.item() for value in both.values()] == pytest.approx(expected)


@pytest.mark.parametrize("align", ["index", "adapter"])
def test_gradient_agrees_with_finite_differences(align: str) -> None:
    student, teacher = (maps(0, 2, 3, 3) + 0.1).requires_grad_(), maps(1, 2, 3, 3)
    assert torch.autograd.gradcheck(
        lambda values: sum(terms(AttentionFeature(align=align), values, teacher).values()), student
    )


def test_channels_of_unknown_origin_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r'6 channels.*4.*align = "adapter"'):
        found(maps(0)[:, :4], maps(1))


def test_an_unknown_alignment_is_refused() -> None:
    with pytest.raises(ValueError, match="align must be one of index, adapter"):
        AttentionFeature(align="agnostic")
