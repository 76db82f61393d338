"""What makes a measurement worthless: drift, noise, heat, other programs, changed clocks.

Each doubt is a sentence; a measurement with any is inconclusive.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from edgekd.core.records import Interval
from edgekd.core.series import known
from edgekd.profile.timings import Taken
from edgekd.remote import checkup, lines

DRIFT_RATIO = 0.03  # between the first and the last third of the samples
SPREAD_RATIO = 0.025  # coefficient of variation; trtexec calls more unstable
NOISE_RATIO = 0.025  # of the first model's odd blocks against its even ones
FOREIGN_RATIO = 0.10
CLOCK_RATIO = 0.05  # lost between beginning and end
_FEWEST_READINGS = 5  # of a clock, in each third
_FEWEST_TICKS = 20  # /proc counts in 10 ms: below, the share is mostly rounding


def about(taken: Taken) -> list[str]:
    """Return a sentence for each doubt about a measurement."""
    notes = taken.notes
    before, after = notes.conditions
    return [
        *about_models(taken),
        *about_noise(taken.noise),
        *about_machine(notes.telemetry, foreign_load(notes.telemetry), notes.series),
        *about_clocks(before, after, notes.telemetry, notes.series),
        *about_falling_clocks(notes.series, taken.names()),
        *about_gpu(before, after),
        *about_threads(taken.spec.threads * taken.spec.streams, notes.cores),
    ]


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


def about_models(taken: Taken) -> Iterator[str]:
    """Yield a sentence for each doubt about a model's latencies."""
    for subject, steady, seconds in taken.steady():
        if not steady:
            yield f"'{subject.name}' was not steady after {seconds:.0f} s of warm-up"
    for timing in taken.timings:
        name, wanders, varies = timing.subject, timing.drift_ratio - 1, timing.spread_ratio or 0.0
        if abs(wanders) > DRIFT_RATIO:
            yield (
                f"'{name}' drifted by {100 * wanders:+.1f} % from the first to the last third "
                f"(limit {100 * DRIFT_RATIO:.0f} %)"
            )
        if varies > SPREAD_RATIO:
            yield (
                f"'{name}' varies by {100 * varies:.1f} % between blocks "
                f"(limit {100 * SPREAD_RATIO:.1f} %)"
            )
    if len(taken.engines()) > 1:
        yield f"not all ran alike, so they cannot be compared: {'; '.join(sorted(taken.engines()))}"


def about_noise(noise: Interval | None) -> Iterator[str]:
    """Yield a sentence if the first model, compared with itself, does not come out equal."""
    if noise is not None and abs(noise.value - 1) > NOISE_RATIO:
        yield (
            f"the first model differs from itself by {100 * abs(noise.value - 1):.1f} % (A/A: its "
            f"odd blocks against its even ones; limit {100 * NOISE_RATIO:.1f} %)"
        )


def about_repetition(first: Taken, second: Taken) -> list[str]:
    """Return a sentence for each model whose latency did not come back."""
    found = []
    for one, other in zip(first.timings, second.timings, strict=True):
        first_ms, second_ms = one.p50_ms.value, other.p50_ms.value
        change = second_ms / first_ms - 1
        if abs(change) > DRIFT_RATIO:
            found.append(
                f"'{one.subject}' took {first_ms:.4g} ms, but {second_ms:.4g} ms when measured "
                f"again ({100 * change:+.1f} %, limit {100 * DRIFT_RATIO:.0f} %)"
            )
    return found


def about_clocks(
    before: lines.Conditions,
    after: lines.Conditions,
    between: Sequence[lines.Telemetry] = (),
    series: lines.Series | None = None,
) -> Iterator[str]:
    """Yield a sentence if somebody changed power mode or clocks meanwhile, or a lock does not hold.

    A clock that is not locked falls between turns, which tells nothing.
    """
    if before.power_mode != after.power_mode:
        modes = [each.power_mode or "one that is not told" for each in (before, after)]
        yield f"the power mode changed from {modes[0]} to {modes[1]} meanwhile"
    if before.gpu is not None and after.gpu is not None:
        bounds = [(gpu.min_mhz, gpu.max_mhz) for gpu in (before.gpu, after.gpu)]
        seen_mhz = [moment.gpu_mhz for moment in between if moment.gpu_mhz is not None]
        seen_mhz += known(series.gpu_mhz) if series is not None else []
        least_mhz = min([after.gpu.now_mhz, *seen_mhz])
        if bounds[0] != bounds[1]:
            yield (
                f"the GPU's clock was bound to {bounds[0][0]:g} to {bounds[0][1]:g} MHz before, "
                f"and to {bounds[1][0]:g} to {bounds[1][1]:g} MHz after"
            )
        elif after.gpu.locked and least_mhz < (1 - CLOCK_RATIO) * after.gpu.max_mhz:
            yield (
                f"the GPU's clock is locked to {after.gpu.max_mhz:g} MHz, but ran at "
                f"{least_mhz:g} MHz"
            )
    if before.cpu_locked != after.cpu_locked:
        yield "the processor's clock was locked or unlocked meanwhile"


def about_falling_clocks(series: lines.Series | None, names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each model under which a clock fell for good, as heat makes it do.

    Held against each other are the first and the last third of the readings while it ran: clocks
    that follow a load go up and down, and the medians of thirds stay.
    """
    for part, column in (("GPU", "gpu_mhz"), ("processor", "cpu_mhz")):
        for model, name in enumerate(names):
            places = [] if series is None else _while_it_ran(series, model)
            clocks = known(tuple(getattr(series, column)[place] for place in places))
            count = len(clocks) // 3
            if count < _FEWEST_READINGS:
                continue
            first_mhz, last_mhz = median(clocks[:count]), median(clocks[-count:])
            if last_mhz < (1 - CLOCK_RATIO) * first_mhz:
                yield (
                    f"the {part}'s clock fell from {first_mhz:.0f} to {last_mhz:.0f} MHz while "
                    f"'{name}' ran{_heat(series, places)}"
                )


def _while_it_ran(series: lines.Series, model: int) -> list[int]:
    """Return the places of the readings that were made while a model ran."""
    turns = [(start, end) for mine, start, end in series.turns if mine == model]
    return [
        place
        for place, time in enumerate(series.times_ns)
        if any(start <= time <= end for start, end in turns)
    ]


def _heat(series: lines.Series | None, places: Sequence[int]) -> str:
    """Say how hot it was then, if the device tells."""
    zones = series.temperatures_c if series is not None else {}
    told = [(column[place], zone) for zone, column in zones.items() for place in places]
    hot = [(celsius, zone) for celsius, zone in told if celsius is not None]
    return f" ({max(hot)[1]} at up to {max(hot)[0]:.0f} C)" if hot else ""


def about_machine(
    telemetry: Sequence[lines.Telemetry],
    foreign_ratio: float | None,
    series: lines.Series | None = None,
) -> list[str]:
    """Return a sentence for each doubt about the machine's state."""
    found = []
    if foreign_ratio is None:
        found.append(f"what other programs took of the processor is unknown: {_gap(telemetry)}")
    elif foreign_ratio > FOREIGN_RATIO:
        found.append(
            f"other programs took {100 * foreign_ratio:.0f} % of the processor "
            f"(limit {100 * FOREIGN_RATIO:.0f} %)"
        )
    if telemetry:
        first, last = telemetry[0], telemetry[-1]
        if _gone(first.throttled, last.throttled):
            found.append("clocks were throttled because of heat or too much current")
        held = {part for moment in telemetry for part in moment.throttling}
        held |= {part for parts in (series.throttling if series else ()) for part in parts}
        if held:
            found.append(f"clocks are held down because of heat: {', '.join(sorted(held))}")
        swapped = _gone(first.swapped_pages, last.swapped_pages)
        if swapped:
            found.append(f"memory ran short: {swapped:,} pages were swapped meanwhile")
        if first.cpu_mhz and last.cpu_mhz and last.cpu_mhz < (1 - CLOCK_RATIO) * first.cpu_mhz:
            found.append(
                f"the slowest core's clock fell from {first.cpu_mhz:.0f} to {last.cpu_mhz:.0f} MHz"
            )
    return found


def about_restart(before: str | None, now: str | None) -> list[str]:
    """Return a sentence if parts of one measurement are of different starts of the device.

    Clocks that were locked, heat and what else runs are not the same after a restart.

    Args:
        before: its boot id in the first part; None: it has none.
        now: that in the last part.
    """
    if before is None or now is None or before == now:
        return []
    return ["the device has restarted in the middle of the measurement"]


def gpu_load(before: lines.Conditions, after: lines.Conditions) -> float | None:
    """Return the larger share of time for which others used the GPU; None: the device is silent."""
    return max(
        (each.gpu_load for each in (before, after) if each.gpu_load is not None), default=None
    )


def about_gpu(before: lines.Conditions, after: lines.Conditions) -> Iterator[str]:
    """Yield a sentence if other programs used the GPU before the measurement or after it.

    Meanwhile their work cannot be told from ours.
    """
    limit = checkup.BUSY_RATIO
    for moment, load in (("before", before.gpu_load), ("after", after.gpu_load)):
        if load is not None and load > limit:
            yield (
                f"other programs used the GPU for {100 * load:.0f} % of the time {moment} the "
                f"measurement (limit {100 * limit:.0f} %)"
            )


def about_threads(threads: int, cores: int) -> list[str]:
    """Return a sentence if threads have to share cores, so that they wait for each other."""
    if threads <= cores:
        return []
    return [f"{threads} threads share {cores} cores and wait for each other: ask for fewer"]


def _gap(telemetry: Sequence[lines.Telemetry]) -> str:
    """Say why the load by other programs is not known."""
    counts = [(each.busy_ticks, each.all_ticks, each.own_ticks) for each in telemetry]
    if not counts or any(None in each for each in counts):
        return "the device does not count it"
    return "the measurement was too short for the device's counters: ask for more runs"


def _gone(first: int | None, last: int | None) -> int | None:
    return None if first is None or last is None else last - first
