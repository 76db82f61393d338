import pytest
import torch
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.layered import Layered
from edgekd.distill.method import Outputs, Step
from edgekd.models.surgery import Surgery

STEP = Step(0, 1, torch.Generator())


class Gap(Layered):
    term = "gap"

    def apart(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        return (student_nchw - teacher_nchw).mean()


def outputs(*values: float) -> Outputs:
    """Three layers, the first two of one size, each full of one number."""
    sides = (4, 4, 2)
    features = {
        str(number): torch.full((2, 3, side, side), value)
        for number, (value, side) in enumerate(zip(values, sides, strict=True))
    }
    return Outputs(torch.zeros(2, 5), features)


@pytest.mark.parametrize(("layers", "expected"), [("all", 7.0), ("stages", 6.0), ("last", 4.0)])
def test_the_term_is_the_sum_over_the_layers_that_were_chosen(layers: str, expected: float) -> None:
    student, teacher = outputs(1.0, 2.0, 4.0), outputs(0.0, 0.0, 0.0)
    method = Gap(layers=layers)
    method.prepare(student, teacher, Surgery.none())
    assert method(student, teacher, None, STEP) == {"gap": torch.tensor(expected)}


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = outputs(1.0, 2.0, 4.0), outputs(0.0, 0.0, 0.0)
    for said in (student, teacher):
        for feature in said.features.values():
            feature.requires_grad_()
    method = Gap(layers="all")
    method.prepare(student, teacher, Surgery.none())
    method(student, teacher, None, STEP)["gap"].backward()
    assert all(feature.grad is not None for feature in student.features.values())
    assert all(feature.grad is None for feature in teacher.features.values())


def test_a_student_without_features_is_refused_by_the_terms_name() -> None:
    nothing = Outputs(torch.zeros(2, 5))
    with pytest.raises(UsageError, match="gap compares features"):
        Gap().prepare(nothing, nothing, Surgery.none())


def test_other_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="layers must be one of last, stages, all"):
        Gap(layers="some")
