import pytest

from edgekd.core.records import Interval
from edgekd.gate import text


@pytest.mark.parametrize(
    ("interval", "limit", "digits"),
    [
        ((0.1, 0.4, 0.9), 2.0, 1),
        ((0.1, 0.4, 1.96), 2.0, 2),  # "2.0" would hide that it is below the margin
        ((0.1, 0.4, 1.998), 2.0, 3),
        ((2.0, 2.0, 2.0), 2.0, 1),
        ((2.0, 2.0, 2.0 + 1e-9), 2.0, 4),
    ],
)
def test_rounding_does_not_hide_on_which_side_of_the_limit_a_value_is(
    interval: tuple[float, float, float], limit: float, digits: int
) -> None:
    low, value, high = interval
    found = Interval(value=value, low=low, high=high, confidence=0.9)
    assert text._digits(found, limit, 1) == digits


@pytest.mark.parametrize(("limit", "shown"), [(2.0, "2.0"), (0.25, "0.25"), (0.125, "0.125")])
def test_limit_is_shown_as_it_was_written(limit: float, shown: str) -> None:
    assert text._limit(limit, 1) == shown


@pytest.mark.parametrize(("count", "shown"), [(7, 7), (99, 99), (101, 110), (3088, 3100)])
def test_forecast_is_rounded_up_to_two_digits(count: int, shown: int) -> None:
    assert text._two_digits(count) == shown


def test_a_name_with_a_line_break_does_not_break_the_line() -> None:
    look = text.LOOKS["size_mib"]
    said = text.line(look, None, 2.0, "inconclusive", "int8\n::error::x")
    assert said == "size not known, limit 2.00 MiB (int8 ::error::x)"
