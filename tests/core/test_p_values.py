import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekd.core import p_values, statistics
from edgekd.core.records import Interval


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0.05, 0.95))
def test_share_test_and_wilsons_interval_never_disagree(
    images: int, share: float, least: float
) -> None:
    correct = round(share * images)
    high = statistics.wilson(correct, images, 0.9).high
    assume(abs(high - least) > 1e-9)
    assert (p_values.share_p_value(correct, images, least) < 0.05) == (high < least)


def test_share_p_value_agrees_with_a_case_worked_by_hand() -> None:
    # 90 of 100 against 95 %: z = -0.05 / sqrt(0.95 * 0.05 / 100) = -2.294, p = 0.0109.
    assert p_values.share_p_value(90, 100, 0.95) == pytest.approx(0.0109, abs=5e-5)


@pytest.mark.parametrize(("share", "least"), [(0.98, 0.97), (0.9, 0.93)])
def test_images_needed_decide_as_often_as_promised(share: float, least: float) -> None:
    needed = p_values.images_needed(share, least)
    assert needed is not None
    found = [
        statistics.wilson(int(correct), needed, 0.9)
        for correct in np.random.default_rng(0).binomial(needed, share, size=2000)
    ]
    decided = [one.low >= least if share > least else one.high < least for one in found]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.04)  # standard error 0.009


def test_no_number_of_images_tells_a_share_from_itself() -> None:
    assert p_values.images_needed(0.9, 0.9) is None


def test_p_value_of_a_ratio_agrees_with_a_case_worked_by_hand() -> None:
    # log(1.2) / (log(1.2 / 1.05) / 1.96) = 0.18232 / 0.068129 = 2.676, one-sided p = 0.0037.
    found = Interval(value=1.2, low=1.05, high=1.4, confidence=0.95)
    assert p_values.ratio_p_value(found, 1.0) == pytest.approx(0.0037, abs=5e-5)


@given(st.floats(0.1, 10), st.floats(1.01, 2), st.floats(0.1, 10), st.floats(0.5, 0.99))
def test_p_value_of_a_ratio_and_its_interval_never_disagree(
    value: float, spread: float, limit: float, confidence: float
) -> None:
    found = Interval(value=value, low=value / spread, high=value * spread, confidence=confidence)
    assume(abs(found.low / limit - 1) > 1e-9)
    p_value = p_values.ratio_p_value(found, limit)
    assert (p_value < (1 - confidence) / 2) == (found.low > limit)


@pytest.mark.parametrize(("limit", "p_value"), [(1.9, 0.0), (2.0, 1.0), (2.1, 1.0)])
def test_a_ratio_without_spread_is_certain(limit: float, p_value: float) -> None:
    found = Interval(value=2.0, low=2.0, high=2.0, confidence=0.95)
    assert p_values.ratio_p_value(found, limit) == p_value
