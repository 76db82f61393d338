"""What a rule is called and how its numbers are shown; one line for people about each finding."""

from dataclasses import dataclass

from edgekd.core.bootstrap import FEWEST_DISCORDANT
from edgekd.core.characters import one_line
from edgekd.core.records import Interval, State, Unit

_MANY = 1_000_000  # images: more than any test set that one could wish for
_MIB = 2**20


@dataclass(frozen=True)
class Look:
    """How a rule's numbers are shown."""

    what: str  # is measured: "top-1 drop"
    unit: Unit
    digits: int  # after the point, at least
    after: str = ""  # the measured value, with its blank: " times the teacher's"
    after_limit: str = ""
    word: str = "limit"
    at_least: bool = False  # more is better


def _drop(what: str) -> Look:
    return Look(what, "pp", 1, " pp", " pp", "margin")


def _ms(what: str) -> Look:
    return Look(what, "ms", 2, " ms", " ms")


_TEACHERS, _BASELINES = " times the teacher's", " times the baseline's"
LOOKS = {
    "top1_drop_pp": _drop("top-1 drop"),
    "top5_drop_pp": _drop("top-5 drop"),
    "worst_class_drop_pp": _drop("worst class's drop"),
    "agreement_percent": Look("agreement with the teacher", "%", 1, " %", " %", "at least", True),
    "latency_ratio": Look("latency", "ratio", 2, _TEACHERS),
    "latency_p90_ratio": Look("latency p90", "ratio", 2, _TEACHERS),
    "latency_p99_ratio": Look("latency p99", "ratio", 2, _TEACHERS),
    "latency_p50_ms": _ms("latency p50"),
    "latency_p90_ms": _ms("latency p90"),
    "latency_p99_ms": _ms("latency p99"),
    "throughput_per_s": Look("throughput", "per s", 0, " images/s", "", "at least", True),
    "energy_per_image_mj": Look("energy per image", "mJ", 2, " mJ", " mJ"),
    "peak_memory_mib": Look("peak memory", "MiB", 1, " MiB", " MiB"),
    "size_ratio": Look("size", "ratio", 2, _TEACHERS),
    "size_mib": Look("size", "MiB", 2, " MiB", " MiB"),
    "parity_sd": Look("largest error of a logit", "sd", 3, " standard deviations"),
    "lint": Look("lint findings", "findings", 0),
    "latency_baseline_ratio": Look("latency", "ratio", 2, _BASELINES),
    "latency_p90_baseline_ratio": Look("latency p90", "ratio", 2, _BASELINES),
    "latency_p99_baseline_ratio": Look("latency p99", "ratio", 2, _BASELINES),
    "memory_baseline_ratio": Look("peak memory", "ratio", 2, _BASELINES),
    "size_baseline_ratio": Look("size", "ratio", 2, _BASELINES),
}


def line(
    look: Look, measured: Interval | None, limit: float, state: State, detail: str, doubt: str = ""
) -> str:
    """Say "top-1 drop 0.4 pp [..0.9], margin 2.0 pp (98.9 % -> 98.5 %, onnx-int8)".

    Of the interval, the end is shown that decides, or both; and so many digits that rounding
    hides nowhere on which side of the limit it lies.
    """
    said = f"{look.what} not known"
    if measured is not None:
        digits = _digits(measured, limit, look.digits)
        said = f"{look.what} {measured.value:.{digits}f}{look.after}"
        if measured.low != measured.high:
            decides_low = state == ("passed" if look.at_least else "failed")
            said += f" {_bounds(measured, state, digits, decides_low=decides_low)}"
    because = f": {doubt}" if doubt else ""
    bound = f"{look.word} {_limit(limit, look.digits)}{look.after_limit}"
    return one_line(f"{said}, {bound} ({detail}){because}")


def mib(count: float) -> str:
    """Say "3.24 MiB" of a number of bytes."""
    return f"{count / _MIB:.3g} MiB"


def images_that_decide(images: int, needed: int | None) -> str:
    """Say how many images would decide; None: no number would."""
    if needed is None or needed > _MANY:
        return f"{images:,} images do not decide, nor would a million: it is too near the limit"
    return f"{images:,} images do not decide, about {_two_digits(needed):,} would"


def too_few_images(images: int, detectable_pp: float, needed: int) -> str:
    """Say that even a student as good as the teacher would pass by luck alone."""
    return (
        f"{images:,} images tell no drop below {detectable_pp:.2g} pp from none, "
        f"about {_two_digits(needed):,} tell one of the margin"
    )


def too_few_images_of_a_class(images: int, needed: int) -> str:
    """Say that a class as good as the teacher's would pass by luck alone."""
    return f"{images:,} images may pass by luck, about {_two_digits(needed):,} tell the margin"


def too_few_to_draw(discordant: int) -> str:
    """Say that drawing images anew tells too little."""
    return (
        f"the bootstrap takes {FEWEST_DISCORDANT} images that one model alone has right, "
        f'{discordant} were found: use interval = "score"'
    )


def _bounds(interval: Interval, state: State, digits: int, *, decides_low: bool) -> str:
    """Show the end of the interval that decides, or both."""
    decided = state != "inconclusive"
    low = "" if decided and not decides_low else f"{interval.low:.{digits}f}"
    high = "" if decided and decides_low else f"{interval.high:.{digits}f}"
    return f"[{low}..{high}]"


def _digits(interval: Interval, limit: float, usual: int) -> int:
    """Return so many digits that rounding hides nowhere on which side of the limit a value is."""
    ends = [end for end in (interval.low, interval.value, interval.high) if end != limit]
    for digits in range(usual, usual + 3):
        if all(f"{end:.{digits}f}" != f"{limit:.{digits}f}" for end in ends):
            return digits
    return usual + 3


def _limit(limit: float, digits: int) -> str:
    """Show at least these digits after the point, and all that were written."""
    rounded = f"{limit:.{digits}f}"
    return rounded if float(rounded) == limit else f"{limit:g}"


def _two_digits(count: int) -> int:
    """Round up to two digits: it is a forecast."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit
