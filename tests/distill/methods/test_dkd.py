import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.method import Outputs
from edgekd.distill.methods.dkd import DKD
from edgekd.distill.methods.kd import KD
from edgekd.models.surgery import Surgery
from tests.distill.methods.looks import logits, step

LABELS = torch.tensor([0, 3, 6, 6, 1])


def terms(method: DKD, student_nk: Tensor, teacher_nk: Tensor, epoch: int = 0) -> dict[str, Tensor]:
    labels_n = LABELS[: len(student_nk)]
    return method(Outputs(student_nk), Outputs(teacher_nk), labels_n, step(epoch))


def test_loss_matches_a_value_worked_out_by_hand() -> None:
    # T = 1, label 0, teacher (1/2, 1/4, 1/4), student (1/4, 1/2, 1/4).
    # Target: 1/2 ln 2 + 1/2 ln 2/3 = 0.143841. Others: (1/2, 1/2) against (2/3, 1/3):
    # 1/2 ln 3/4 + 1/2 ln 3/2 = 0.058892, 8 times that is 0.471132.
    student = torch.tensor([[0.25, 0.5, 0.25]]).log()
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    found = terms(DKD(temperature=1.0), student, teacher)
    assert found["dkd"].item() == pytest.approx(0.143841, abs=1e-6)
    assert found["dkd_other"].item() == pytest.approx(0.471132, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.5, 8))
def test_with_the_teachers_doubt_as_weight_of_the_others_the_sum_is_kd(
    seed: int, temperature: float
) -> None:
    student, teacher = logits(seed, images=1), logits(seed + 1, images=1)
    doubt = 1 - (teacher / temperature).softmax(1)[0, LABELS[0]].item()
    found = terms(DKD(temperature=temperature, other_weight=doubt), student, teacher)
    kd = KD(temperature=temperature)(Outputs(student), Outputs(teacher), None, step())["kd"]
    assert sum(found.values()).item() == pytest.approx(kd.item(), rel=1e-9, abs=1e-12)


def test_only_the_share_of_the_label_counts_for_the_target() -> None:
    student, teacher = logits(0, images=1), logits(1, images=1)
    mixed = torch.cat([student[:, :1], student[:, 1:].flip(1)], dim=1)
    one, other = terms(DKD(), student, teacher), terms(DKD(), mixed, teacher)
    assert other["dkd"].item() == pytest.approx(one["dkd"].item(), rel=1e-12)
    assert other["dkd_other"].item() != pytest.approx(one["dkd_other"].item(), rel=1e-3)


def test_the_others_do_not_notice_the_logit_of_the_label() -> None:
    student, teacher = logits(0, images=1), logits(1, images=1)
    surer = student.clone()
    surer[0, LABELS[0]] += 5
    one, other = terms(DKD(), student, teacher), terms(DKD(), surer, teacher)
    assert other["dkd_other"].item() == pytest.approx(one["dkd_other"].item(), rel=1e-9)


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)])
def test_the_weight_grows_linearly_in_the_first_epochs(epoch: int, share: float) -> None:
    full = terms(DKD(), logits(0), logits(1))
    warming = terms(DKD(warmup_epochs=4), logits(0), logits(1), epoch)
    for name, value in full.items():
        assert warming[name].item() == pytest.approx(share * value.item(), rel=1e-12)


def test_gradient_agrees_with_finite_differences() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    assert torch.autograd.gradcheck(
        lambda values: sum(terms(DKD(), values, teacher).values()), student
    )


def test_huge_logits_give_a_finite_loss_and_gradient() -> None:
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = sum(terms(DKD(), student, torch.tensor([[-1e4, 1e4, 0.0]])).values())
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


def test_two_classes_are_refused_with_the_way_out() -> None:
    pair = Outputs(torch.zeros(1, 2)), Outputs(torch.zeros(1, 2))
    with pytest.raises(UsageError, match=r"2 classes.*logit_mse"):
        DKD().prepare(*pair, Surgery.none())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be > 0"),
        ({"target_weight": -1}, "target_weight must be >= 0"),
        ({"other_weight": -1}, "other_weight must be >= 0"),
        ({"warmup_epochs": -1}, "warmup_epochs must be >= 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DKD(**options)
