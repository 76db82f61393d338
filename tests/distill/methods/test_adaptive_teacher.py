import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.adaptive_teacher import AdaptiveTeacher, divergence
from edgekd.models.surgery import Surgery

STEP = Step(0, 1, torch.Generator())
ALPHAS = [-1.0, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, 2.0]
LABELS = torch.tensor([0, 1, 2, 3, 4])


def logits(seed: int, images: int = 5, classes: int = 7, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(images, classes, generator=generator, dtype=torch.float64)


def apart(p_nk: Tensor, q_nk: Tensor, alpha: float, clip: float = math.inf) -> Tensor:
    """Return D_alpha between the softmaxes of logits [N]."""
    return divergence(p_nk.log_softmax(1), q_nk.log_softmax(1), alpha, clip)


def loss(student_nk: Tensor, teacher_nk: Tensor, **options: object) -> Tensor:
    method = AdaptiveTeacher(**options)
    return method(Outputs(student_nk), Outputs(teacher_nk), None, STEP)["adaptive_teacher"]


def teacher_terms(student: Tensor, teacher: Tensor, guard: float, **options: object) -> Tensor:
    step = Step(0, 1, torch.Generator(), guard)
    method = AdaptiveTeacher(**options)
    return method.teacher_terms(Outputs(student), Outputs(teacher), LABELS, step)


# p = (1/2, 1/2), q = (1/4, 3/4)
BY_HAND = [
    (-1.0, (1 / 8 + 1 / 8) / 2),  # 1/2 sum (p - q)^2 / p: 1/16 / 1/2 twice, halved
    (0.0, 0.25 * math.log(0.5) + 0.75 * math.log(1.5)),  # KL(q || p)
    (0.5, 4 * (1 - math.sqrt(1 / 8) - math.sqrt(3 / 8))),  # 4 (1 - sum sqrt(p q))
    (1.0, 0.5 * math.log(2) + 0.5 * math.log(2 / 3)),  # KL(p || q)
    (2.0, (1 / 4 + 1 / 12) / 2),  # 1/2 sum (p - q)^2 / q: 1/16 / 1/4 + 1/16 / 3/4, halved
]


@pytest.mark.parametrize(("alpha", "expected"), BY_HAND)
def test_divergence_matches_a_value_worked_out_by_hand(alpha: float, expected: float) -> None:
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert divergence(p, q, alpha, 5.0).item() == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(-1, 2).filter(lambda a: min(abs(a), abs(a - 1)) > 1e-3))
def test_divergence_is_the_sum_that_defines_it(seed: int, alpha: float) -> None:
    p, q = logits(seed).softmax(1), logits(seed + 1).softmax(1)
    expected = (q * ((p / q) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))
    assert torch.allclose(apart(logits(seed), logits(seed + 1), alpha), expected, rtol=1e-8)


@given(st.integers(0, 10**6), st.floats(-1, 2), st.floats(1.1, 100))
def test_divergence_is_not_negative_and_zero_for_equals_alone(
    seed: int, alpha: float, clip: float
) -> None:
    p, q = logits(seed), logits(seed + 1)
    assert (apart(p, q, alpha, clip) > 1e-4).all()
    assert apart(p, p + 3, alpha, clip).abs().max().item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("limit", [0.0, 1.0])
@pytest.mark.parametrize("off", [1e-3, -1e-3, 1e-9, -1e-9, 1e-300])
def test_divergence_and_gradient_run_smoothly_into_their_limits(limit: float, off: float) -> None:
    q = logits(1).requires_grad_()
    at, near = (apart(logits(0), q, alpha) for alpha in (limit, limit + off))
    assert torch.allclose(near, at, rtol=1e-3)
    assert not near.isnan().any()
    slopes = [torch.autograd.grad(value.sum(), q, retain_graph=True)[0] for value in (at, near)]
    assert torch.allclose(*slopes, rtol=1e-2, atol=1e-3)


@given(st.integers(0, 10**6), st.floats(-1, 2))
def test_swapping_the_two_is_swapping_alpha_for_one_less_alpha(seed: int, alpha: float) -> None:
    p, q = logits(seed), logits(seed + 1)
    assert torch.allclose(apart(p, q, alpha), apart(q, p, 1 - alpha), rtol=1e-8)


@pytest.mark.parametrize("alpha", [*ALPHAS, 1e-6, 1 - 1e-6])
def test_gradient_agrees_with_finite_differences_where_nothing_is_clipped(alpha: float) -> None:
    q = logits(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: apart(logits(0), values, alpha), q)


def test_clipping_bounds_the_gradient_and_leaves_the_value() -> None:
    # a = 1: the gradient at the logits is sum_k w_k (softmax - e_k) with w = q min(p / q, 5).
    # p / q = 9, 1/9: w = (0.5, 0.1), so the first entry is 0.6 * 0.1 - 0.5 = -0.44.
    p, q = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log().requires_grad_()
    value = apart(p, q, 1.0, clip=5.0)
    (slope,) = torch.autograd.grad(value.sum(), q)
    assert slope.tolist()[0] == pytest.approx([-0.44, 0.44], abs=1e-6)
    assert value.item() == apart(p, q, 1.0).item()


def test_a_clip_that_nothing_reaches_changes_nothing() -> None:
    p, q = logits(0, scale=0.1), logits(1, scale=0.1).requires_grad_()
    slopes = [torch.autograd.grad(apart(p, q, 1.0, c).sum(), q)[0] for c in (5.0, math.inf)]
    assert torch.equal(*slopes)


def test_adaptive_takes_the_larger_of_both_for_each_image() -> None:
    student, teacher = logits(0, 40, 3), logits(1, 40, 3)
    values = torch.stack(
        [
            torch.stack(
                [loss(s[None], t[None], alpha=alpha) for s, t in zip(student, teacher, strict=True)]
            )
            for alpha in (-1.0, 1.0)
        ]
    )
    assert (values[0] > values[1]).any()
    assert (values[0] < values[1]).any()
    expected = values.amax(0).mean().item()
    assert loss(student, teacher, alpha="adaptive").item() == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 10**6), st.floats(0.1, 50), st.floats(-50, 50))
def test_logits_count_but_for_scale_and_offset(seed: int, scale: float, offset: float) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    expected = loss(student, teacher).item()
    found = loss(scale * student + offset, teacher * 2 - offset).item()
    assert found == pytest.approx(expected, rel=1e-3)  # the epsilon of n


def test_the_student_learns_the_softened_divergence_of_standardised_logits() -> None:
    student, teacher = logits(0), logits(1)

    def standard(values: Tensor) -> Tensor:
        return (values - values.mean(1, keepdim=True)) / values.std(1, correction=0, keepdim=True)

    expected = 4 * apart(standard(teacher) / 2, standard(student) / 2, 0.5).mean().item()
    found = loss(student, teacher, temperature=2.0, alpha=0.5).item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_gradient_of_the_students_term_agrees_with_finite_differences() -> None:
    student = logits(0).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: loss(values, logits(1), alpha=0.5, temperature=1.5, clip=1e6), student
    )


def test_no_gradient_crosses_between_the_networks() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    loss(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None
    student.grad = None
    sum(teacher_terms(student, teacher, 1.0).values()).backward()
    assert student.grad is None
    assert teacher.grad is not None


def test_the_teacher_learns_labels_and_so_much_of_the_student_as_the_guard_allows() -> None:
    student, teacher = logits(0), logits(1)
    found = teacher_terms(student, teacher, 0.5, teacher_weight=0.4, alpha=1.0)
    expected = -teacher.log_softmax(1)[torch.arange(5), LABELS].mean().item()
    assert found["adaptive_teacher_ce"].item() == pytest.approx(expected, rel=1e-12)
    mirrored = loss(teacher, student, alpha=1.0).item()
    assert found["adaptive_teacher_student"].item() == pytest.approx(0.2 * mirrored, rel=1e-12)


def test_a_teacher_of_weight_zero_takes_nothing_from_the_student() -> None:
    teacher = logits(1).requires_grad_()
    terms = teacher_terms(logits(0), teacher, 1.0, teacher_weight=0.0)
    terms["adaptive_teacher_student"].backward()
    assert not teacher.grad.any()


@pytest.mark.parametrize("alpha", ["adaptive", 2.0])
def test_certain_networks_that_disagree_give_finite_losses(alpha: float | str) -> None:
    # One of 1000 classes stands out: standardised, it is 31.6 ahead of the others.
    student, teacher = torch.zeros(1, 1000), torch.zeros(1, 1000)
    student[0, 0], teacher[0, 1] = 1e4, 1e4
    student.requires_grad_()
    found = loss(student, teacher, alpha=alpha)
    found.backward()
    assert found.isfinite()
    assert student.grad.isfinite().all()


def test_constant_logits_give_a_finite_gradient() -> None:
    student = torch.zeros(2, 5, requires_grad=True)
    loss(student, torch.randn(2, 5, generator=torch.Generator().manual_seed(0))).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be > 0"),
        ({"alpha": "adaptiv"}, 'a number or "adaptive"'),
        ({"alpha": 2.5}, r"alpha must lie in \[-1, 2\]"),
        ({"clip": 1.0}, "clip must be > 1"),
        ({"teacher_weight": -0.1}, "teacher_weight must be >= 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdaptiveTeacher(**options)


def test_two_classes_are_refused_for_standardised_they_are_all_alike() -> None:
    pair = Outputs(torch.zeros(1, 2)), Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match=r"two classes.*'logit_mse'"):
        AdaptiveTeacher().prepare(*pair, Surgery.none())
