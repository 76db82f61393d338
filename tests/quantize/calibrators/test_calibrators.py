"""Every calibrator, by the contract and by distributions whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from edgekd.core import plugins
from edgekd.core.errors import UsageError
from edgekd.quantize.calibrator import Calibrator
from edgekd.quantize.calibrators.entropy import divergence

NAMES = plugins.names(plugins.CALIBRATORS)


def ranged(name: str, *batches: np.ndarray, **options: object) -> tuple[float, float]:
    made = plugins.create(plugins.CALIBRATORS, name, Calibrator, options)
    for batch in batches:
        made.observe(batch.astype(np.float32))
    return made.range()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=30),
    cut=st.integers(0, 30),
)
def test_range_is_that_of_all_values_however_they_are_batched(
    name: str, values: list[float], cut: int
) -> None:
    array = np.array(values)
    low, high = ranged(name, array)
    assert ranged(name, array[:cut], array[cut:]) == (low, high)
    assert min(0, array.min()) <= low <= 0 <= high <= max(0, array.max())


@pytest.mark.parametrize("name", NAMES)
def test_range_grows_with_the_values(name: str) -> None:
    values = np.random.default_rng(0).standard_normal(10_000)
    one, four = ranged(name, values), ranged(name, 4 * values)
    assert four == pytest.approx((4 * one[0], 4 * one[1]), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_no_values_and_zeros_give_an_empty_range(name: str) -> None:
    assert ranged(name) == (0, 0)
    assert ranged(name, np.zeros(5), np.zeros((0, 3))) == (0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_values_behind_a_relu_have_no_negative_side(name: str) -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(10_000), 0)
    low, high = ranged(name, values)
    assert low == 0
    assert 1 < high <= values.max().astype(np.float32)


@pytest.mark.parametrize("name", ["entropy", "mse"])
def test_zeros_behind_a_relu_do_not_move_the_range(name: str) -> None:
    values = np.abs(np.random.default_rng(0).standard_normal(10_000))
    assert ranged(name, np.append(values, np.zeros(90_000))) == ranged(name, values)


@pytest.mark.parametrize("name", NAMES)
def test_uniform_values_are_not_cut(name: str) -> None:
    # Clipping costs as much as anywhere and finer steps gain little: the whole range is best.
    low, high = ranged(name, np.linspace(0, 1, 100_001))
    assert (low, high) == pytest.approx((0, 1), abs=0.03)


@pytest.mark.parametrize("name", ["entropy", "percentile"])
def test_one_outlier_in_a_hundred_thousand_is_cut_off(name: str) -> None:
    values = np.random.default_rng(0).standard_normal(100_000)
    _, high = ranged(name, np.append(values, 100.0))
    assert high < 20
    assert ranged("minmax", np.append(values, 100.0))[1] == 100


def test_percentile_keeps_the_share_that_was_asked_for() -> None:
    values = np.arange(1, 1001) / 1000
    _, high = ranged("percentile", values, percentile=90)
    assert 0.9 <= high <= 0.9 + 1 / 2048  # the width of a bin
    assert ranged("percentile", values, percentile=100)[1] == 1


@pytest.mark.parametrize("percentile", [0, -1, 100.1])
def test_percentile_outside_its_range_is_refused(percentile: float) -> None:
    with pytest.raises(UsageError, match=r"percentile must lie in \(0, 100\]"):
        ranged("percentile", percentile=percentile)


def test_mse_of_a_normal_distribution_is_least_near_four_deviations() -> None:
    # 8 bits over a Gaussian: the best clipping is at 3.92 standard deviations
    # (Banner et al., 2019, https://arxiv.org/abs/1810.05723, table 1).
    ratios = (np.arange(1_000_000) + 0.5) / 1_000_000
    low, high = ranged("mse", ndtri(ratios))
    assert high == pytest.approx(3.92, abs=0.04)  # one of the 128 thresholds
    assert low == -high


def test_divergence_worked_out_by_hand() -> None:
    # Kept (1, 3) in one level is (2, 2); P with the tail is (1, 3 + 4) / 8.
    # KL = 1/8 ln(1/8 / 1/2) + 7/8 ln(7/8 / 1/2) = -0.173287 + 0.489664
    counts = np.array([1.0, 3.0, 4.0])
    assert divergence(counts, 2, levels=1) == pytest.approx(0.316377, abs=1e-6)


def test_divergence_is_zero_if_there_is_a_level_for_each_bin() -> None:
    counts = np.array([5.0, 0.0, 2.0, 1.0])
    assert divergence(counts, 4, levels=4) == 0


def test_empty_bins_take_no_part() -> None:
    # (4, 0) in one level: the level's mass stays on the first bin.
    assert divergence(np.array([4.0, 0.0, 2.0, 2.0]), 4, levels=2) == 0


def test_tail_on_an_empty_bin_is_infinitely_far() -> None:
    assert divergence(np.array([4.0, 0.0, 1.0]), 2, levels=2) == float("inf")
