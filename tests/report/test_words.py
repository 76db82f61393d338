import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.records import Interval
from edgekd.report import words


def interval(value: float, low: float, high: float, confidence: float = 0.95) -> Interval:
    return Interval(value=value, low=low, high=high, confidence=confidence)


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert words.fixed(-0.001, 2) == "0.00"
    assert words.signed(-0.001, 2) == "0.00"
    assert words.signed(0.0049, 2) == "0.00"


@given(st.floats(-1e6, 1e6), st.integers(0, 4))
def test_a_number_is_shown_within_half_of_its_last_digit(value: float, digits: int) -> None:
    shown = words.fixed(value, digits)
    assert abs(float(shown) - value) <= 0.5 * 10**-digits * (1 + 1e-6)
    assert not (shown.startswith("-") and float(shown) == 0)


def test_gains_and_losses_are_signed() -> None:
    assert [words.signed(0.421, 2), words.signed(-0.1, 1)] == ["+0.42", "-0.1"]


def test_an_estimate_is_shown_with_its_interval_unless_it_is_exact() -> None:
    assert words.estimate(interval(97.084, 95.567, 98.09), 2) == "97.08 [95.57, 98.09]"
    assert words.estimate(interval(0.5, 0.5, 0.5), 2) == "0.50"


@pytest.mark.parametrize(
    ("values", "digits"),
    [([4.31], 2), ([0.412, 12.0], 3), ([123.0], 0), ([1e-9], 4), ([], 2), ([0.0], 2)],
)
def test_the_smallest_value_keeps_three_digits(values: list[float], digits: int) -> None:
    assert words.digits_for(values) == digits


def test_three_significant_digits_are_shown_but_no_more_than_four_decimals() -> None:
    shown = [words.three_digits(value) for value in (1.026, 0.0732, 20.74, 8521.9, 0.00001)]
    assert shown == ["1.03", "0.0732", "20.7", "8522", "0.0000"]


def test_ends_of_an_interval_are_told_apart_where_four_decimals_can() -> None:
    assert words.digits_apart([interval(0.3205, 0.3201, 0.3212)], least=2) == 3
    assert words.digits_apart([interval(0.5, 0.4, 0.6), interval(0.5, 0.5, 0.5)], least=2) == 2
    assert words.digits_apart([interval(0.5, 0.5, 0.5000001)], least=2) == 4


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(0.5, "50 %"), (0.494, "49 %"), (0.0123, "1.2 %"), (0, "0 %"), (1, "100 %")],
)
def test_a_share_is_shown_in_percent(ratio: float, shown: str) -> None:
    assert words.share(ratio) == shown


def test_one_confidence_is_named_and_several_are_not_mixed_up() -> None:
    both = [interval(1, 0, 2, 0.9), None, interval(1, 0, 2, 0.9)]
    assert words.confidence(both) == "90 %"
    assert words.confidence([*both, interval(1, 0, 2)]) == "mixed confidence"


@pytest.mark.parametrize(
    ("count", "shown"),
    [(127_300_000, "127 M"), (62_900_000, "62.9 M"), (4_110_000_000, "4.11 G"), (950, "950"),
     (1_500, "1.50 k")],
)  # fmt: skip
def test_macs_are_shown_with_a_prefix(count: int, shown: str) -> None:
    assert words.macs(count) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(3_511_211, "3.35 MiB"), (571_840, "558 KiB"), (2**20, "1.00 MiB"), (1023, "1023 B")],
)
def test_sizes_are_shown_in_binary_units(count: int, shown: str) -> None:
    assert words.size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.44, "1.4 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_are_shown_in_two_units_at_most(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


def test_lists_end_with_and() -> None:
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b"]) == "a and b"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert words.listing([]) == ""


def test_one_thing_is_not_plural() -> None:
    assert [words.count(1, "image"), words.count(1200, "image")] == ["1 image", "1,200 images"]


def test_digits_show_on_which_side_of_its_limit_a_value_lies() -> None:
    assert words.digits_beside(interval(0.903, 0.899, 0.906), limit=0.9, least=2) == 3
    assert words.digits_beside(interval(0.6, 0.5, 0.7), limit=0.9, least=2) == 2
    assert words.digits_beside(interval(0.9, 0.9, 0.9), limit=0.9, least=2) == 2
