import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.errors import DataError
from edgekd.evaluate import sensitivity
from edgekd.evaluate.sensitivity import fewest_float

FLOAT = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
LABELS = np.array([0, 1])


def test_equal_logits_are_no_damage() -> None:
    found = sensitivity.damage(FLOAT, FLOAT, LABELS)
    assert (found.relative_l2, found.kl_nats, found.max_error) == (0, 0, 0)
    assert (found.lost, found.gained, found.top1_percent) == (0, 0, 100)
    assert found.drop_pp.value == 0
    assert found.drop_pp.high > 0  # two images prove little


def test_distances_by_hand() -> None:
    other = np.array([[3.0, 0.0], [0.0, 1.0]], np.float32)
    found = sensitivity.damage(FLOAT, other, LABELS)
    assert found.relative_l2 == pytest.approx(3 / 5)
    assert found.max_error == 3
    share = 1 / (1 + math.exp(4))  # the float network's of class 0, in the second image
    mine = 1 / (1 + math.exp(1))
    kl = share * math.log(share / mine) + (1 - share) * math.log((1 - share) / (1 - mine))
    assert found.kl_nats == pytest.approx(kl / 2, rel=1e-6)


def test_a_shift_of_all_logits_changes_no_answer() -> None:
    found = sensitivity.damage(FLOAT, FLOAT + 100, LABELS)
    assert found.kl_nats == pytest.approx(0, abs=1e-9)
    assert found.max_error == pytest.approx(100)


def test_lost_and_gained_images_are_counted_in_pairs() -> None:
    float_nk = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    other_nk = np.array([[0, 1], [0, 1], [1, 0], [1, 0]], np.float32)
    found = sensitivity.damage(float_nk, other_nk, np.array([0, 0, 0, 0]))
    assert (found.lost, found.gained) == (2, 1)
    assert found.drop_pp.value == 25
    assert found.top1_percent == 50


def test_no_logits_but_zeros_are_compared_too() -> None:
    zeros = np.zeros_like(FLOAT)
    assert sensitivity.damage(zeros, zeros, LABELS).relative_l2 == 0
    assert sensitivity.damage(zeros, FLOAT, LABELS).relative_l2 == 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (FLOAT[:1], "cannot be compared"),
        (np.full_like(FLOAT, np.inf), "quantised network gives logits that are not finite"),
    ],
)
def test_logits_that_cannot_be_compared_are_refused(other: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        sensitivity.damage(FLOAT, other, LABELS)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        sensitivity.damage(FLOAT[:0], FLOAT[:0], LABELS[:0])


class Judge:
    """The rule holds if all of some layers are float; notes what it was asked."""

    def __init__(self, needed: set[str]) -> None:
        self.needed = needed
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, keep_float: tuple[str, ...]) -> bool:
        self.asked.append(keep_float)
        return self.needed <= set(keep_float)


ORDER = tuple("abcdefgh")


def test_nothing_stays_float_if_the_rule_holds_as_it_is() -> None:
    judge = Judge(set())
    assert fewest_float(ORDER, judge) == ()
    assert judge.asked == [()]


@given(st.sets(st.sampled_from(ORDER[:-1])))
def test_exactly_the_needed_layers_stay_float(needed: set[str]) -> None:
    judge = Judge(needed)
    assert fewest_float(ORDER, judge) == tuple(sorted(needed))
    assert len(judge.asked) == len(set(judge.asked)) <= 2 + 3 + len(ORDER)


@pytest.mark.parametrize("order", [ORDER, ("h",)])
def test_there_is_no_answer_if_the_least_sensitive_layer_is_needed_too(
    order: tuple[str, ...],
) -> None:
    assert fewest_float(order, Judge({"h"})) is None
