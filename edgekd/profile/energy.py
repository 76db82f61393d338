"""The electrical energy of an inference, from a sensor's readings beside models that run.

For each block: integrate power over it (trapezoids between the readings; a counter needs none),
subtract idle power times its length, divide by its images. A result is the median over the blocks,
which are drawn whole for its interval; each end is moved outward by half of what the idle power
changed from before to after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, records, statistics
from edgekd.core.errors import DeviceError
from edgekd.remote import lines

FEWEST_READINGS = 10  # in each stretch
GAP_RATIO = 0.5  # of a stretch without any reading
IDLE_RATIO = 0.10  # by which idle power may change
LEAST_RATIO = 0.001  # of a load's power that must be above idle: below is no sensor's resolution
CONFIDENCE = 0.95  # two-sided
_PACKAGE = "package"  # RAPL's names begin so
# Rails that carry all others, and what hangs on them (NVIDIA's guides; jetson_stats for VIN).
_INPUTS: dict[str, records.Scope] = {"VDD_IN": "module", "POM_5V_IN": "module", "VIN": "board"}


class NoResultError(Exception):
    """Why readings tell no energy; becomes part of the record."""


@dataclass(frozen=True)
class Readings:
    """What a sensor told, summed over the rails that count.

    Args:
        times_s: of each reading, rising, [readings].
        values: milliwatts, or microjoules since the first reading, [readings].
        counter: they are microjoules.
    """

    times_s: NDArray[np.float64]
    values: NDArray[np.float64]
    counter: bool

    def energy_mj(self, start_s: float, end_s: float) -> float:
        """Return the energy between two times, both within the readings."""
        ends = np.interp([start_s, end_s], self.times_s, self.values)
        if self.counter:
            return float(ends[1] - ends[0]) / 1000
        inside = self._inside(start_s, end_s)
        times_s = np.concatenate([[start_s], self.times_s[inside], [end_s]])
        powers_mw = np.concatenate([ends[:1], self.values[inside], ends[1:]])
        return float(np.sum(np.diff(times_s) * (powers_mw[1:] + powers_mw[:-1]) / 2))

    def count(self, start_s: float, end_s: float) -> int:
        """Return how many readings lie in a stretch.

        Raises:
            NoResultError: too few, or a gap among them.
        """
        times_s = self.times_s[self._inside(start_s, end_s)]
        gap_s = float(np.max(np.diff(np.concatenate([[start_s], times_s, [end_s]]))))
        if len(times_s) < FEWEST_READINGS or gap_s > GAP_RATIO * (end_s - start_s):
            raise NoResultError(
                f"the sensor gave {len(times_s)} readings in a stretch of {end_s - start_s:.1f} s, "
                f"and none for {gap_s:.1f} s; {FEWEST_READINGS} evenly spread ones are needed"
            )
        return len(times_s)

    def _inside(self, start_s: float, end_s: float) -> NDArray[np.bool_]:
        return (self.times_s > start_s) & (self.times_s < end_s)


def result(
    power: lines.Power,
    stretches: Sequence[lines.Stretch],
    subjects: Sequence[str],
    batch: int,
    rail: str | None,
    file: Path,
) -> tuple[records.Energy, list[records.Consumption | None]]:
    """Return what the readings tell, or why they tell nothing.

    Args:
        power: the readings.
        stretches: of each subject's blocks, equally many, and of the idle times before and after.
        subjects: their names; the first is the reference.
        batch: images in an inference.
        rail: that carries the whole module, by the board's profile; None: it has none.
        file: gets the raw readings, .npz.

    Raises:
        DeviceError: the agent left some out.
    """
    nothing: list[records.Consumption | None] = [None] * len(subjects)
    if power.source is None:
        return records.Energy(missing=power.reason or "the device gave no reason"), nothing
    _keep(power, stretches, file)
    try:
        return _weighed(power, stretches, subjects, batch, rail, file)
    except NoResultError as error:
        missing = records.Energy(
            missing=str(error),
            source=power.source,
            readings_file=file.name,
            readings_sha256=files.sha256_of(file),
        )
        return missing, nothing


def chosen(rails: Sequence[str], rail: str | None) -> tuple[tuple[str, ...], records.Scope]:
    """Return the rails that are to be added up, and what they carry together.

    Args:
        rails: all that the sensor knows.
        rail: that carries the whole module, by the board's profile; None: it has none.
    """
    for name, scope in _INPUTS.items():
        if name in rails:
            return (name,), scope
    if rail is not None and rail in rails:
        return (rail,), "module"
    if all(name.startswith(_PACKAGE) for name in rails):
        return tuple(rails), "package"
    return tuple(rails), "sum of rails"


def _weighed(
    power: lines.Power,
    stretches: Sequence[lines.Stretch],
    subjects: Sequence[str],
    batch: int,
    rail: str | None,
    file: Path,
) -> tuple[records.Energy, list[records.Consumption | None]]:
    rails, scope = chosen(power.rails, rail)
    readings = _readings(power, rails)
    idle = [_mean_mw(readings, each) for each in stretches if each.subject is None]
    blocks = [
        [each for each in stretches if each.subject == index] for index in range(len(subjects))
    ]
    sizes = {len(mine) for mine in blocks}
    if len(idle) != 2 or len(sizes) != 1 or min(sizes) < statistics.FEWEST_BLOCKS:  # noqa: PLR2004
        raise DeviceError(
            f"the agent must send {statistics.FEWEST_BLOCKS} or more stretches of each model and "
            f"two idle ones, but sent {[len(mine) for mine in blocks]} and {len(idle)}"
        )
    net: list[NDArray[np.float64]] = []
    found: list[records.Consumption | None] = []
    for name, mine in zip(subjects, blocks, strict=True):
        images = np.array([each.runs * batch for each in mine], dtype=np.float64)
        seconds = np.array([_length_s(each) for each in mine])
        powers_mw = np.array([_mean_mw(readings, each) for each in mine])
        net.append(((powers_mw - np.mean(idle)) * seconds / images)[:, None])
        moved_mj = abs(idle[1] - idle[0]) / 2 * float(np.median(seconds / images))
        interval = _median(net[-1], moved_mj)
        gross_mj = float(np.median(powers_mw * seconds / images))
        if interval.low <= LEAST_RATIO * gross_mj:
            raise NoResultError(
                f"'{name}' draws {np.median(powers_mw) / 1000:.2f} W, which cannot be told from "
                f"the {idle[0] / 1000:.2f} W and {idle[1] / 1000:.2f} W of an idle machine"
            )
        found.append(
            records.Consumption(
                per_image_mj=interval,
                gross_per_image_mj=gross_mj,
                power_mw=float(np.median(powers_mw)),
                ratio_to_first=statistics.ratio_of_medians(net[0], net[-1]) if found else None,
                images=int(images.sum()),
            )
        )
    counts = [readings.count(*_ends_s(each)) for mine in blocks for each in mine]
    return records.Energy(
        source=power.source,
        rails=rails,
        scope=scope,
        interval_ms=1000 * float(np.median(np.diff(readings.times_s))),
        idle_mw=(idle[0], idle[1]),
        blocks=len(blocks[0]),
        fewest_readings=min(counts),
        readings_file=file.name,
        readings_sha256=files.sha256_of(file),
        doubts=_doubts(*idle),
    ), found


def _doubts(before_mw: float, after_mw: float) -> tuple[str, ...]:
    if abs(after_mw - before_mw) <= IDLE_RATIO * before_mw:
        return ()
    moved = f"idle power was {before_mw / 1000:.2f} W before and {after_mw / 1000:.2f} W after"
    return (f"{moved} the energy was measured (limit {100 * IDLE_RATIO:.0f} % of change)",)


def _readings(power: lines.Power, rails: Sequence[str]) -> Readings:
    values = np.array(power.values, dtype=np.float64)
    if values.shape != (len(power.times_ns), len(power.rails)) or power.unit is None:
        raise DeviceError(
            f"the agent sent {len(power.times_ns)} times of readings of {len(power.rails)} rails, "
            f"but values of the shape {values.shape} in {power.unit}"
        )
    wanted = [power.rails.index(rail) for rail in rails]
    times_s = np.array(power.times_ns, dtype=np.float64) / 1e9
    return Readings(times_s, values[:, wanted].sum(axis=1), power.unit == "uJ")


def _mean_mw(readings: Readings, stretch: lines.Stretch) -> float:
    """Return a stretch's mean power.

    Raises:
        NoResultError: too few readings, or a power that no machine that runs can have.
    """
    start_s, end_s = _ends_s(stretch)
    readings.count(start_s, end_s)
    mean_mw = readings.energy_mj(start_s, end_s) / (end_s - start_s)
    if mean_mw <= 0:
        raise NoResultError(f"the sensor told a power of {mean_mw:.0f} mW: it does not measure")
    return mean_mw


def _median(blocks: NDArray[np.float64], moved: float) -> records.Interval:
    """Return the median of blocks [blocks, 1], its interval widened by ``moved`` on each side."""
    found = statistics.ratio_of_medians(np.ones_like(blocks), blocks, CONFIDENCE)
    assert found is not None, "there are enough blocks"
    return found.model_copy(update={"low": found.low - moved, "high": found.high + moved})


def _ends_s(stretch: lines.Stretch) -> tuple[float, float]:
    return stretch.start_ns / 1e9, stretch.end_ns / 1e9


def _length_s(stretch: lines.Stretch) -> float:
    start_s, end_s = _ends_s(stretch)
    return end_s - start_s


def _keep(power: lines.Power, stretches: Sequence[lines.Stretch], file: Path) -> None:
    """Write all readings, and each stretch as [subject or -1, runs, start, end]."""
    rows = [
        [-1 if each.subject is None else each.subject, each.runs, each.start_ns, each.end_ns]
        for each in stretches
    ]
    with files.replacing(file) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            rails=np.array(power.rails),
            times_ns=np.array(power.times_ns, dtype=np.int64),
            values=np.array(power.values, dtype=np.float64),
            stretches=np.array(rows, dtype=np.int64),
        )
