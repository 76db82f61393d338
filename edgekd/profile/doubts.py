"""What makes a measurement doubtful: drift, noise, heat, other programs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records
from edgekd.remote import lines

DRIFT_RATIO = 0.03  # between the first and the last third of the samples
SPREAD_RATIO = 0.025  # coefficient of variation; trtexec calls more unstable
FOREIGN_RATIO = 0.10
CLOCK_RATIO = 0.05  # lost between beginning and end
_FEWEST_TICKS = 20  # /proc counts in 10 ms: below, the share is mostly rounding


def drift(samples: NDArray[np.float64]) -> float:
    """Return the median of the last third of the samples over that of the first.

    Args:
        samples: [blocks, runs] in the order of time, at least 3 in all.
    """
    first, _, last = np.array_split(samples.ravel(), 3)
    return float(np.median(last) / np.median(first))


def spread(samples: NDArray[np.float64]) -> float:
    """Return the coefficient of variation of the blocks' medians; 0 for one block.

    Not of single runs: one interrupted run in a thousand moves that, and no median.
    """
    medians = np.median(samples, axis=1)
    return float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 else 0.0


def foreign_load(telemetry: Sequence[lines.Telemetry]) -> float | None:
    """Return the share of the processor's time that other programs took between first and last.

    None: the device does not count it, or the measurement was too short to tell.
    """
    if not telemetry:
        return None
    first, last = telemetry[0], telemetry[-1]
    everything = _gone(first.all_ticks, last.all_ticks)
    busy = _gone(first.busy_ticks, last.busy_ticks)
    own = _gone(first.own_ticks, last.own_ticks)
    if everything is None or busy is None or own is None or everything < _FEWEST_TICKS:
        return None
    return min(1.0, max(0.0, (busy - own) / everything))


def about_models(
    timings: Sequence[records.Timing],
    samples: Sequence[NDArray[np.float64]],
    warmed: Sequence[lines.Warmed],
) -> list[str]:
    """Return a sentence for each doubt about a model's latencies."""
    found = []
    for timing, mine, warm in zip(timings, samples, warmed, strict=True):
        name = f"'{timing.subject}'"
        if not warm.steady:
            found.append(f"{name} was not steady after {warm.seconds:.0f} s of warm-up")
        if abs(timing.drift_ratio - 1) > DRIFT_RATIO:
            found.append(
                f"{name} drifted by {100 * (timing.drift_ratio - 1):+.1f} % from the first to the "
                f"last third (limit {100 * DRIFT_RATIO:.0f} %)"
            )
        if spread(mine) > SPREAD_RATIO:
            found.append(
                f"{name} varies by {100 * spread(mine):.1f} % between blocks "
                f"(limit {100 * SPREAD_RATIO:.1f} %)"
            )
    return found


def about_machine(telemetry: Sequence[lines.Telemetry], foreign_ratio: float | None) -> list[str]:
    """Return a sentence for each doubt about the machine's state."""
    found = []
    if foreign_ratio is None:
        found.append("how much other programs took of the processor is unknown")
    elif foreign_ratio > FOREIGN_RATIO:
        found.append(
            f"other programs took {100 * foreign_ratio:.0f} % of the processor "
            f"(limit {100 * FOREIGN_RATIO:.0f} %)"
        )
    if telemetry:
        first, last = telemetry[0], telemetry[-1]
        if _gone(first.throttled, last.throttled):
            found.append("the processor was throttled because of heat")
        if first.cpu_mhz and last.cpu_mhz and last.cpu_mhz < (1 - CLOCK_RATIO) * first.cpu_mhz:
            found.append(
                f"the slowest core's clock fell from {first.cpu_mhz:.0f} to {last.cpu_mhz:.0f} MHz"
            )
    return found


def about_threads(threads: int, cores: int) -> list[str]:
    """Return a sentence if threads have to share cores, so that they wait for each other."""
    if threads <= cores:
        return []
    return [f"{threads} threads share {cores} cores and wait for each other: ask for fewer"]


def _gone(first: int | None, last: int | None) -> int | None:
    return None if first is None or last is None else last - first
