"""The histogram that calibrators share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgekd.quantize.calibrator import Histogram

VALUES = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40)


def histogram(*batches: list[float], bins: int = 8) -> Histogram:
    made = Histogram(bins)
    for batch in batches:
        made.add(np.array(batch, np.float32))
    return made


@given(values=VALUES, cut=st.integers(0, 40))
def test_counts_do_not_depend_on_how_values_are_batched(values: list[float], cut: int) -> None:
    whole, parts = histogram(values), histogram(values[:cut], values[cut:])
    assert (whole.used() == parts.used()).all()
    assert (whole.low, whole.high) == (parts.low, parts.high)


@given(values=VALUES)
def test_every_value_is_counted_once(values: list[float]) -> None:
    made = histogram(values)
    assert made.used().sum() in {0, len(values)}
    assert (made.used().sum() == 0) == (not any(values))


def test_bins_end_at_a_power_of_two() -> None:
    made = histogram([0.0, 0.9, -1.1, 2.9, 3.0])  # 8 bins up to 4: half a unit each
    assert made.width == 0.5
    assert made.used().tolist() == [1, 1, 1, 0, 0, 1, 1]


def test_bins_merge_when_a_larger_value_comes() -> None:
    made = histogram([0.1, 0.4, 0.6], [7.0])
    assert made.width == 1
    assert made.used().tolist() == [3, 0, 0, 0, 0, 0, 0, 1]


def test_zeros_before_the_first_value_are_counted() -> None:
    assert histogram([0.0, 0.0], [1.0]).used().sum() == 3


def test_memory_does_not_grow() -> None:
    made = Histogram()
    for exponent in range(-100, 100):
        made.add(np.full(1000, 2.0**exponent, np.float32))
    assert made.counts.nbytes == 4096 * 8


def test_range_is_cut_on_both_sides() -> None:
    made = histogram([-3.0, 5.0])
    assert made.clipped(4.0) == (-3.0, 4.0)
    assert made.clipped(2.0) == (-2.0, 2.0)


def test_share_beyond_a_threshold_counts_both_signs() -> None:
    histogram = Histogram()
    histogram.add(np.array([-4.0, -1.0, 0.0, 0.0, 1.0, 2.0, 3.0, 8.0], dtype=np.float32))
    assert histogram.beyond(2.5) == 3 / 8
    assert histogram.beyond(8.0) == 0
    assert Histogram().beyond(1.0) == 0
