import pytest
import torch
from torch import Tensor

from edgekd.distill.method import Outputs
from edgekd.distill.methods.triplet import Triplet
from tests.distill.methods.looks import logits, step

EVEN = torch.zeros(2, 2, dtype=torch.float64)
SURE = torch.tensor([[50.0, -50.0], [-50.0, 50.0]], dtype=torch.float64)  # classes 0 and 1


def loss(
    student_nk: Tensor,
    teacher_nk: Tensor,
    labels: list[int] | None = None,
    seed: int = 0,
    **options: object,
) -> Tensor:
    labels_n = torch.tensor(labels or range(len(student_nk)))
    at = step(seed=seed)
    method = Triplet(**options)
    return method(Outputs(student_nk), Outputs(teacher_nk), labels_n, at)["triplet"]


def test_triplet_matches_a_value_worked_out_by_hand() -> None:
    # a = (1/2, 1/2) is as far from p = (1, 0) as from n = (0, 1): the margin is left.
    assert loss(EVEN, SURE).item() == pytest.approx(0.5, abs=1e-12)
    assert loss(EVEN, SURE, margin=0.2).item() == pytest.approx(0.2, abs=1e-12)


def test_pair_matches_a_value_worked_out_by_hand() -> None:
    # d(a, p) = d(a, n) = 1/2; 1/2 + (1 - sqrt 1/2)^2 = 0.585786
    found = loss(EVEN, SURE, form="pair", margin=1.0)
    assert found.item() == pytest.approx(0.585786, abs=1e-6)


def test_logits_are_scaled_to_length_1() -> None:
    # a = (1, 0), p = (1, 0), n = (0, 1) after scaling: 0 - 2 + 1 < 0. Swapped: 2 - 0 + 1 = 3.
    teacher = torch.tensor([[7.0, 0.0], [0.0, 0.1]])
    student = torch.tensor([[0.2, 0.0], [0.0, 30.0]])
    assert loss(student, teacher, outputs="logits").item() == 0
    assert loss(student.flip(0), teacher, outputs="logits").item() == pytest.approx(3)


def test_a_student_that_equals_a_teacher_whose_classes_lie_apart_has_nothing_to_learn() -> None:
    student = SURE.clone().requires_grad_()
    value = loss(student, SURE)
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


@pytest.mark.parametrize("negatives", ["random", "hardest"])
def test_a_batch_of_one_class_gives_0_and_no_nan(negatives: str) -> None:
    student = EVEN.clone().requires_grad_()
    value = loss(student, SURE, [1, 1], negatives=negatives)
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


def test_a_pair_without_a_negative_keeps_its_first_part() -> None:
    assert loss(EVEN, SURE, [1, 1], form="pair").item() == pytest.approx(0.5, abs=1e-12)


def test_random_negatives_are_all_images_of_other_classes_and_no_others() -> None:
    labels_n = torch.tensor([0, 0, 1, 2, 1])
    others_nn = labels_n[:, None] != labels_n
    seen = {
        (image, negative)
        for seed in range(60)
        for image, negative in enumerate(
            Triplet()._choose(EVEN, EVEN, others_nn, step(seed=seed)).tolist()
        )
    }
    assert seen == {tuple(pair) for pair in others_nn.nonzero().tolist()}


def test_hardest_takes_the_nearest_of_the_other_classes() -> None:
    student, teacher = logits(0, 8, 5), logits(1, 8, 5)
    labels = [0, 1, 2, 0, 1, 2, 0, 1]
    found = loss(student, teacher, labels, negatives="hardest")
    a, t = student.softmax(1), teacher.softmax(1)
    each = []
    for i, label in enumerate(labels):
        far = min((a[i] - t[j]).square().sum() for j in range(8) if labels[j] != label)
        each.append(max(0.0, ((a[i] - t[i]).square().sum() - far + 0.5).item()))
    assert found.item() == pytest.approx(sum(each) / 8, rel=1e-12)
    assert found >= max(loss(student, teacher, labels, seed) for seed in range(5))


@pytest.mark.parametrize("form", ["triplet", "pair"])
@pytest.mark.parametrize("outputs", ["softmax", "logits"])
def test_gradient_agrees_with_finite_differences(form: str, outputs: str) -> None:
    student, teacher = logits(0, scale=1).requires_grad_(), logits(1, scale=1)
    assert torch.autograd.gradcheck(
        lambda values: loss(values, teacher, form=form, outputs=outputs, margin=2.0), student
    )


def test_a_negative_that_the_student_equals_gives_a_finite_gradient() -> None:
    student = SURE.flip(0).clone().requires_grad_()
    loss(student, SURE, form="pair", outputs="logits").backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "quadruplet"}, "form must be one of triplet, pair"),
        ({"outputs": "features"}, "outputs must be one of softmax, logits"),
        ({"negatives": "all"}, "negatives must be one of random, hardest"),
        ({"margin": 0}, "margin must be > 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Triplet(**options)
