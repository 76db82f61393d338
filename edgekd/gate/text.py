"""One line for people about each finding."""

from edgekd.core.records import Accuracy, Artifact, Interval, State, Timing

_MANY = 1_000_000  # images: more than any test set that one could wish for
_MIB = 2**20


def drop(
    teacher: Accuracy, subject: Accuracy, pp: Interval, margin: float, *, state: State, doubt: str
) -> str:
    """Say "top-1 drop 0.4 pp [..0.9], margin 2.0 pp (98.9 % -> 98.5 %, onnx-int8)"."""
    digits = _digits(pp, margin, 1)
    return (
        f"top-1 drop {pp.value:.{digits}f} pp {_bounds(pp, state, digits)}, "
        f"margin {_limit(margin, 1)} pp "
        f"({teacher.top1_percent.value:.1f} % -> {subject.top1_percent.value:.1f} %, "
        f"{subject.subject})" + _because(doubt)
    )


def latency(reference: Timing, timing: Timing, limit: float, *, state: State, doubt: str) -> str:
    """Say "latency 0.41 times the teacher's [..0.43], limit 0.50 (1.23 ms -> 0.50 ms, ...)"."""
    ratio = timing.ratio_to_first
    measured = timing.p50_ms.value / reference.p50_ms.value if ratio is None else ratio.value
    digits = 2 if ratio is None else _digits(ratio, limit, 2)
    bounds = "" if ratio is None else f" {_bounds(ratio, state, digits)}"
    return (
        f"latency {measured:.{digits}f} times the teacher's{bounds}, limit {_limit(limit, 2)} "
        f"({reference.p50_ms.value:.3g} ms -> {timing.p50_ms.value:.3g} ms, {timing.subject})"
        + _because(doubt)
    )


def size(reference: Artifact, artifact: Artifact, limit: float, name: str) -> str:
    """Say "size 0.26 times the teacher's, limit 0.50 (3.42 MiB -> 0.89 MiB, onnx-int8)"."""
    ratio = artifact.bytes / reference.bytes
    return (
        f"size {ratio:.2f} times the teacher's, limit {_limit(limit, 2)} "
        f"({reference.bytes / _MIB:.3g} MiB -> {artifact.bytes / _MIB:.3g} MiB, {name})"
    )


def images_that_decide(images: int, needed: int | None) -> str:
    """Say how many images would decide; None: no number would."""
    if needed is None or needed > _MANY:
        return f"{images:,} images do not decide, nor would a million: it is too near the margin"
    return f"{images:,} images do not decide, about {_two_digits(needed):,} would"


def _bounds(interval: Interval, state: State, digits: int) -> str:
    """Show the end of the interval that decides, or both."""
    low = "" if state == "passed" else f"{interval.low:.{digits}f}"
    high = "" if state == "failed" else f"{interval.high:.{digits}f}"
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


def _because(doubt: str) -> str:
    return f": {doubt}" if doubt else ""


def _two_digits(count: int) -> int:
    """Round up to two digits: it is a forecast."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // unit) * unit
