import pytest
import torch
from torch import nn

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs
from edgekd.distill.methods.cross_layer import CrossLayer
from edgekd.models.surgery import Surgery
from tests.distill.methods.looks import maps, said, terms


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # One channel, projections 1: R = (2, (4 + 2) / 2 = 3), S = (1, 2).
    # (1 - 2)^2 / 4 + (2 - 3)^2 / 9 = 0.361111; the gap: 0.5 * (1 - 2)^2 / 9 = 0.055556.
    student = said(torch.full((1, 1, 2, 2), 1.0), torch.full((1, 1, 1, 1), 2.0))
    teacher = said(torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 1, 1), 4.0))
    method = CrossLayer()
    method.prepare(student, teacher, Surgery.none())
    for parameter in method.parameters():
        nn.init.ones_(parameter)
    found = method(student, teacher, None, None)
    assert found["cross_layer"].item() == pytest.approx(0.361111, abs=1e-5)
    assert found["cross_layer_gap"].item() == pytest.approx(0.055556, abs=1e-5)


def pair(channels: int = 4) -> tuple[Outputs, Outputs]:
    student = said(maps(0, channels=channels, side=4), maps(1, channels=channels, side=2))
    return student, said(maps(2, channels=6, side=4), maps(3, channels=8, side=2))


@pytest.mark.parametrize("channels", [3, 4, 9])
def test_students_of_any_width_learn_through_projections_that_learn_along(channels: int) -> None:
    student, teacher = pair(channels)
    for feature in student.features.values():
        feature.requires_grad_()
    method = CrossLayer().double()
    sum(terms(method, student, teacher).values()).backward()
    assert all(feature.grad.abs().sum() > 0 for feature in student.features.values())
    assert all(p.grad.abs().sum() > 0 for p in method.student_projections.parameters())


def test_the_teachers_projections_are_orthonormal_and_fixed() -> None:
    method = CrossLayer()
    terms(method, *pair())
    for parameter in method.teacher_projections.parameters():
        rows_oi = parameter.flatten(1)
        assert rows_oi.shape[0] == 6  # the smallest width of the teacher's stages
        assert torch.allclose(rows_oi @ rows_oi.T, torch.eye(6, dtype=torch.float64), atol=1e-6)
        assert not parameter.requires_grad


def test_the_earlier_stage_follows_the_later_one() -> None:
    student, teacher = pair()
    first, second = (feature.requires_grad_() for feature in student.features.values())
    gap = terms(CrossLayer(), student, teacher)["cross_layer_gap"]
    to_first, to_second = torch.autograd.grad(gap, [first, second], allow_unused=True)
    assert to_first.abs().sum() > 0
    assert to_second is None


def test_a_weight_of_0_leaves_the_gaps_alone() -> None:
    assert set(terms(CrossLayer(gap_weight=0), *pair())) == {"cross_layer"}


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = pair(3)
    method = CrossLayer()
    method.prepare(student, teacher, Surgery.none())

    def loss(first: torch.Tensor) -> torch.Tensor:
        changed = said(first, student.features["layer1"])
        return torch.stack(list(method(changed, teacher, None, None).values())).sum()

    assert torch.autograd.gradcheck(loss, student.features["layer0"].requires_grad_())


def test_maps_of_one_size_are_refused_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"one size.*'feature_mse'"):
        terms(CrossLayer(), said(maps(0), maps(1)), said(maps(2), maps(3)))


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="gap_weight must be >= 0"):
        CrossLayer(gap_weight=-1)
