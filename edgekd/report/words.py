"""Numbers as people read them: the same digits in the terminal, in charts and in tables."""

from collections.abc import Iterable
from datetime import datetime

from edgekd.core.records import Interval, State

STATE_WORDS: dict[State, str] = {
    "passed": "PASSED",
    "failed": "FAILED",
    "inconclusive": "INCONCLUSIVE",
}
RULE_WORDS = {
    "top1_drop_pp": "top-1 drop",
    "top5_drop_pp": "top-5 drop",
    "worst_class_drop_pp": "worst class's drop",
    "agreement_percent": "agreement with the teacher",
    "latency_ratio": "latency ratio",
    "size_ratio": "size ratio",
    "parity_sd": "largest error of a logit",
}
_UNITS = {"ratio": "x"}
_SIGNIFICANT = 3
_MOST_DIGITS = 4
_KIB, _MIB = 2**10, 2**20
_MINUTE_S, _HOUR_S = 60, 3600


def moment(made_at: datetime) -> str:
    """Return "3 May 2026, 14:05 UTC"."""
    return f"{made_at.day} {made_at:%B %Y, %H:%M} UTC"


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals; never "-0.00"."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def bounds(interval: Interval, digits: int) -> str:
    """Return "[95.57, 98.09]"."""
    return f"[{fixed(interval.low, digits)}, {fixed(interval.high, digits)}]"


def estimate(interval: Interval, digits: int) -> str:
    """Return "97.08 [95.57, 98.09]", or the value alone if it is exact."""
    if interval.low == interval.high:
        return fixed(interval.value, digits)
    return f"{fixed(interval.value, digits)} {bounds(interval, digits)}"


def signed(value: float, digits: int) -> str:
    """Return "+0.42" or "-0.10"; nothing is put before what rounds to zero."""
    text = fixed(value, digits)
    return f"+{text}" if float(text) > 0 else text


def digits_for(values: Iterable[float]) -> int:
    """Return how many decimals show every value with three significant digits, at most 4."""
    sizes = [abs(value) for value in values if value]
    least = min(sizes, default=1.0)
    digits = 0
    while least < 10 ** (_SIGNIFICANT - 1) and digits < _MOST_DIGITS:
        least *= 10
        digits += 1
    return digits


def three_digits(value: float) -> str:
    """Return a number with three significant digits, but no more than four decimals."""
    return fixed(value, digits_for([value]))


def digits_apart(intervals: Iterable[Interval], least: int) -> int:
    """Return how many decimals tell both ends of every interval apart, at least and at most 4."""
    digits = least
    for interval in intervals:
        while digits < _MOST_DIGITS and _looks_exact(interval, digits):
            digits += 1
    return digits


def digits_beside(interval: Interval, limit: float, least: int) -> int:
    """Return how many decimals show on which side of a limit value and ends lie, at most 4."""
    digits = digits_apart([interval], least)
    points = [interval.low, interval.value, interval.high]
    while digits < _MOST_DIGITS and any(
        point != limit and fixed(point, digits) == fixed(limit, digits) for point in points
    ):
        digits += 1
    return digits


def share(ratio: float) -> str:
    """Return "50 %", with a decimal below 10 %."""
    percent = 100 * ratio
    return f"{fixed(percent, 0 if percent == 0 or percent >= 10 else 1)} %"  # noqa: PLR2004


def confidence(values: Iterable[Interval | None]) -> str:
    """Return "95 %" for intervals that share one confidence, else "each at its own confidence"."""
    found = {round(100 * value.confidence, 6) for value in values if value is not None}
    return f"{found.pop():g} %" if len(found) == 1 else "mixed confidence"


def macs(count: int) -> str:
    """Return "63.1 M"."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.{digits_for([count / size])}f} {unit}"
    return str(count)


def size(count: int) -> str:
    """Return "3.25 MiB" or "310 KiB"."""
    if count >= _MIB:
        return f"{count / _MIB:.{digits_for([count / _MIB])}f} MiB"
    return f"{count / _KIB:.{digits_for([count / _KIB])}f} KiB" if count >= _KIB else f"{count} B"


def duration(seconds: float) -> str:
    """Return "2 h 05 min", "3 min 20 s" or "1.4 s"."""
    if seconds >= _HOUR_S:
        return f"{int(seconds // _HOUR_S)} h {int(seconds % _HOUR_S // _MINUTE_S):02d} min"
    if seconds >= _MINUTE_S:
        return f"{int(seconds // _MINUTE_S)} min {int(seconds % _MINUTE_S):02d} s"
    return f"{seconds:.1f} s"


def rule(name: str) -> str:
    """Return what people call a rule of the gate: "latency p99" of "latency_p99_ms"."""
    plain = name.removesuffix("_ms").removesuffix("_mib").removesuffix("_per_s")
    return RULE_WORDS.get(name, plain.replace("_", " "))


def unit(name: str) -> str:
    """Return what stands after a number of this unit: "x" of a ratio, " ms" of milliseconds."""
    return _UNITS.get(name, f" {name}")


def count(number: int, thing: str) -> str:
    """Return "1 image" or "1,200 images"."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def short(sha256: str) -> str:
    """Return the first 12 digits of a hash."""
    return sha256[:12]


def listing(parts: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _looks_exact(interval: Interval, digits: int) -> bool:
    ends = fixed(interval.low, digits), fixed(interval.high, digits)
    return interval.low < interval.high and ends[0] == ends[1]
