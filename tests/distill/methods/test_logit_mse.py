import pytest
import torch
from torch import Tensor

from edgekd.distill.method import Outputs
from edgekd.distill.methods.kd import KD
from edgekd.distill.methods.logit_mse import LogitMSE
from tests.distill.methods.looks import logits, step


def loss(student_nk: Tensor, teacher_nk: Tensor) -> Tensor:
    return LogitMSE()(Outputs(student_nk), Outputs(teacher_nk), None, step())["logit_mse"]


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # (1 + 4 + 0 + 9) / 4, over two images and two classes
    student = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    teacher = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    assert loss(student, teacher).item() == 3.5


def test_it_is_twice_the_limit_of_kd_at_a_high_temperature_for_centred_logits() -> None:
    student, teacher = (z - z.mean(1, keepdim=True) for z in (logits(0), logits(1)))
    kd = KD(temperature=1e3)(Outputs(student), Outputs(teacher), None, step())["kd"]
    assert loss(student, teacher).item() == pytest.approx(2 * kd.item(), rel=1e-2)


def test_two_classes_teach_as_strongly_as_their_logits_differ() -> None:
    # The gradient of kd fades as the teacher grows surer; this one does not.
    student = torch.zeros(1, 2, requires_grad=True)
    loss(student, torch.tensor([[20.0, -20.0]])).backward()
    assert student.grad.tolist() == [[-20.0, 20.0]]


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    assert torch.autograd.gradcheck(lambda values: loss(values, teacher), student)
