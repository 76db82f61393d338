import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill.method import Method, Outputs
from edgekd.distill.methods.entropy_weight import EntropyWeight, sureness
from edgekd.distill.methods.kd import KD
from tests.distill.methods.looks import logits, step


def loss(student_nk: Tensor, teacher_nk: Tensor, method: Method | None = None) -> Tensor:
    (value,) = (method or EntropyWeight())(
        Outputs(student_nk), Outputs(teacher_nk), None, step()
    ).values()
    return value


def test_a_teacher_between_two_of_four_classes_counts_half() -> None:
    teacher = torch.tensor([[0.0, 0.0, -60.0, -60.0]], dtype=torch.float64)
    student = logits(0, 1, 4)
    assert sureness(teacher).item() == pytest.approx(0.5, abs=1e-12)
    expected = 0.5 * loss(student, teacher, KD()).item()
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_a_teacher_that_guesses_has_nothing_to_say() -> None:
    student = logits(0).requires_grad_()
    loss(student, torch.ones(5, 7, dtype=torch.float64)).backward()
    assert student.grad.abs().max() < 1e-12


def test_a_sure_teacher_is_heard_as_in_kd() -> None:
    teacher = 100 * torch.eye(5, 7, dtype=torch.float64)
    expected = loss(logits(0), teacher, KD()).item()
    assert loss(logits(0), teacher).item() == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 10**6), st.floats(-50, 50))
def test_weights_lie_in_0_to_1_and_ignore_what_is_added_to_all_logits(
    seed: int, offset: float
) -> None:
    weight_n = sureness(logits(seed))
    assert ((weight_n >= 0) & (weight_n <= 1)).all()
    assert torch.allclose(sureness(logits(seed) + offset), weight_n, atol=1e-9)


def test_images_are_weighed_one_by_one() -> None:
    student, teacher = logits(0, 2), logits(1, 2)
    each = [loss(student[i : i + 1], teacher[i : i + 1]).item() for i in range(2)]
    assert loss(student, teacher).item() == pytest.approx(sum(each) / 2, rel=1e-12)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    assert torch.autograd.gradcheck(lambda values: loss(values, teacher), student)


def test_a_temperature_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be > 0"):
        EntropyWeight(temperature=0)
