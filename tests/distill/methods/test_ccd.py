import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.ccd import CCD
from edgekd.distill.methods.kd import KD

STEP = Step(0, 1, torch.Generator())


def logits(seed: int, images: int = 5, classes: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(images, classes, generator=generator, dtype=torch.float64)


def views(first_nk: Tensor, second_nk: Tensor) -> Outputs:
    return Outputs(first_nk, others=(Outputs(second_nk),))


def loss(student: Outputs, teacher: Outputs, **options: object) -> Tensor:
    return CCD(**options)(student, teacher, None, STEP)["ccd"]


def kd(student_nk: Tensor, teacher_nk: Tensor) -> float:
    return KD()(Outputs(student_nk), Outputs(teacher_nk), None, STEP)["kd"].item()


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # T = 1. First view: student as teacher, so KL = 0. Second view: teacher (1/2, 1/2), student
    # (1/4, 3/4), KL = 0.143841 (see kd). Teacher's logits (3, 0) and (2, 2): cos = 1 / sqrt 2.
    # ccd = 1/2 * 1.707107 * 0.143841 = 0.122776
    teacher = views(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 2.0]]))
    student = views(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.25, 0.75]]).log())
    assert loss(student, teacher, temperature=1.0).item() == pytest.approx(0.122776, abs=1e-6)


def test_equal_views_weigh_double_so_loss_is_one_and_a_half_times_kd() -> None:
    student, teacher = logits(0), logits(1)
    found = loss(views(student, student), views(teacher, teacher)).item()
    assert found == pytest.approx(1.5 * kd(student, teacher), rel=1e-12)


def test_opposite_logits_silence_the_second_view() -> None:
    student, teacher = views(logits(0), logits(2)), views(logits(1), -logits(1))
    expected = kd(logits(0), logits(1)) / 2
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_without_weights_it_is_kd_on_both_views() -> None:
    student, teacher = views(logits(0), logits(2)), views(logits(1), logits(3))
    together = kd(torch.cat([logits(0), logits(2)]), torch.cat([logits(1), logits(3)]))
    assert loss(student, teacher, weighted=False).item() == pytest.approx(together, rel=1e-12)


@given(st.integers(0, 10**6), st.floats(0.5, 20))
def test_loss_is_not_negative_and_zero_for_a_student_that_equals_its_teacher(
    seed: int, temperature: float
) -> None:
    teacher = views(logits(seed), logits(seed + 1))
    student = views(logits(seed + 2), logits(seed + 3))
    assert loss(student, teacher, temperature=temperature).item() > 0
    assert loss(teacher, teacher, temperature=temperature).item() == pytest.approx(0, abs=1e-12)


def test_gradient_agrees_with_finite_differences_and_spares_the_teacher() -> None:
    student = [logits(0).requires_grad_(), logits(1).requires_grad_()]
    teacher = [logits(2).requires_grad_(), logits(3).requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda *both: loss(views(*both), views(logits(2), logits(3))), student
    )
    loss(views(*student), views(*teacher)).backward()
    assert all(nk.grad is not None for nk in student)
    assert all(nk.grad is None for nk in teacher)


def test_the_probability_is_what_the_training_is_asked_for() -> None:
    assert CCD().second_view == 0.5
    assert CCD(probability=0.2).second_view == 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"probability": 1.5}, r"probability must lie in \[0, 1\]"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CCD(**options)
