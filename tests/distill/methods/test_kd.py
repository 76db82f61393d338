import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.kd import KD
from edgekd.models.surgery import Surgery

STEP = Step(0, 1, torch.Generator())


def loss(student_nk: Tensor, teacher_nk: Tensor, temperature: float = 4.0) -> Tensor:
    method = KD(temperature=temperature)
    return method(Outputs(student_nk), Outputs(teacher_nk), None, STEP)["kd"]


def logits(seed: int, images: int = 5, classes: int = 7, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(images, classes, generator=generator, dtype=torch.float64)


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # T = 1, teacher (1/2, 1/2), student (1/4, 3/4): KL = 1/2 ln 2 + 1/2 ln 2/3 = 0.143841
    student = torch.tensor([[0.25, 0.75]]).log()
    teacher = torch.tensor([[0.5, 0.5]]).log()
    assert loss(student, teacher, 1.0).item() == pytest.approx(0.143841, abs=1e-6)


def test_loss_at_another_temperature_is_that_of_the_softened_logits_times_its_square() -> None:
    student, teacher = logits(0), logits(1)
    softened = loss(student / 3, teacher / 3, 1.0)
    assert loss(student, teacher, 3.0).item() == pytest.approx(9 * softened.item(), rel=1e-12)


def test_loss_does_not_depend_on_how_often_the_batch_is_repeated() -> None:
    student, teacher = logits(0), logits(1)
    repeated = loss(student.repeat(3, 1), teacher.repeat(3, 1))
    assert repeated.item() == pytest.approx(loss(student, teacher).item(), rel=1e-12)


def test_loss_is_zero_for_a_student_that_equals_its_teacher() -> None:
    assert loss(logits(0), logits(0)).item() == pytest.approx(0, abs=1e-15)


@given(st.integers(0, 10**6), st.floats(-50, 50), st.floats(0.5, 20))
def test_loss_is_not_negative_and_ignores_what_is_added_to_all_logits(
    seed: int, offset: float, temperature: float
) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    value = loss(student, teacher, temperature).item()
    assert value >= -1e-12
    shifted = loss(student + offset, teacher - offset, temperature).item()
    assert shifted == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0, 8.0])
def test_gradient_is_temperature_times_the_difference_of_probabilities(temperature: float) -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    (gradient,) = torch.autograd.grad(loss(student, teacher, temperature), student)
    q = (student / temperature).softmax(1)
    p = (teacher / temperature).softmax(1)
    expected = temperature * (q - p) / len(student)
    assert torch.allclose(gradient, expected.detach(), atol=1e-12)
    assert gradient.abs().sum(1).max() <= 2 * temperature / len(student)


def test_at_a_high_temperature_loss_is_half_the_mean_squared_difference_of_centred_logits() -> None:
    student, teacher = logits(0), logits(1)
    student = student - student.mean(1, keepdim=True)
    teacher = teacher - teacher.mean(1, keepdim=True)
    expected = 0.5 * (student - teacher).square().mean()
    assert loss(student, teacher, 1e3).item() == pytest.approx(expected.item(), rel=1e-2)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    assert torch.autograd.gradcheck(lambda values: loss(values, teacher), student)


def test_huge_logits_give_a_finite_loss() -> None:
    student, teacher = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert math.isfinite(loss(student, teacher).item())


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be > 0"):
        KD(temperature=temperature)


def normalised(student_nk: Tensor, teacher_nk: Tensor) -> float:
    method = KD(temperature=2.0, normalise=True)
    return method(Outputs(student_nk), Outputs(teacher_nk), None, STEP)["kd"].item()


def test_normalised_logits_match_a_value_worked_out_by_hand() -> None:
    # Both become (1, -1) and (-1, 1), whatever their size; T = 2: probabilities 1/2 +- tanh(1/2)/2,
    # T^2 KL = 4 * tanh(1/2) * 1 = 1.848469
    found = normalised(torch.tensor([[9.0, 5.0]]), torch.tensor([[0.0, 0.5]]))
    assert found == pytest.approx(1.848469, abs=1e-4)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_normalised_logits_have_neither_size_nor_offset(
    seed: int, scale: float, offset: float
) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    expected = normalised(student, teacher)
    assert normalised(scale * student + offset, teacher) == pytest.approx(expected, rel=1e-4)


def test_equal_logits_give_a_finite_loss_when_normalised() -> None:
    assert math.isfinite(normalised(torch.ones(2, 3), torch.tensor([[1.0, 2.0, 3.0]]).repeat(2, 1)))


@pytest.mark.parametrize(
    ("classes", "temperature", "warns"), [(2, 5.0, True), (2, 4.0, False), (3, 8.0, False)]
)
def test_two_classes_at_a_high_temperature_are_warned_about(
    classes: int, temperature: float, *, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        logging.getLogger("edgekd.distill.compare"),
        "warning",
        lambda message, *values: said.append(message % values),
    )
    pair = Outputs(torch.zeros(1, classes)), Outputs(torch.zeros(1, classes))
    KD(temperature=temperature).prepare(*pair, Surgery.none())
    assert bool(said) == warns
    assert all("two classes" in line and "logit_mse" in line for line in said)


def test_logits_of_two_classes_are_not_standardised() -> None:
    pair = Outputs(torch.zeros(1, 2)), Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match=r"leaves nothing of those of two classes.*'logit_mse'"):
        KD(normalise=True).prepare(*pair, Surgery.none())
