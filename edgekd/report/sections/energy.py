"""Energy: what an image costs above idle, and power over time."""

import zipfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import Consumption, Energy, Measurement
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, looks, over_time, timeline, words
from edgekd.report.blocks import Block, Cell, Column, Figure, Folded, Note, Section, Table
from edgekd.report.svg import Chart
from edgekd.report.timeline import Band

_COUNTERS = ("rapl",)  # sources that count microjoules; all others tell milliwatts
_FEWEST = 2  # readings
_COLUMNS = (
    Column("Artifact"),
    Column("Above idle (mJ an image)", numeric=True),
    Column("Ratio to the first", numeric=True),
    Column("With idle (mJ an image)", numeric=True),
    Column("Power (W)", numeric=True),
    Column("Images", numeric=True),
)


def section(run: Run) -> Section | None:
    """Return the section; None: neither energy nor temperature was asked for or told."""
    measured = run.measurement
    found: list[Block] = []
    if measured is not None and measured.energy is not None:
        found += _energy(run, measured, measured.energy)
    if measured is not None:
        found += _warmth(run, measured)
    return Section("energy", "Energy and temperature", tuple(found)) if found else None


def _warmth(run: Run, measured: Measurement) -> list[Block]:
    if measured.series is not None:
        return over_time.figures(run, measured.series, "latency")
    if measured.temperatures_c is None:
        return []
    before, after = measured.temperatures_c
    return [Note(f"The hottest part had {before:.1f} °C before and {after:.1f} °C after.")]


def _energy(run: Run, measured: Measurement, energy: Energy) -> list[Block]:
    if energy.missing is not None:
        return [Note(f"There is no energy: {energy.missing}.", "inconclusive")]
    used = [(t.subject, t.energy) for t in measured.timings if t.energy is not None]
    found: list[Block] = [_overview(run, used), _table(energy, used)]
    try:
        found.append(_power(run, measured, energy))
    except RecordError as error:
        found.append(Note(f"Power over time cannot be shown: {error}.", "inconclusive"))
    if energy.series is not None and any(over_time.sensors(energy.series)):
        meanwhile = over_time.figures(run, energy.series, "energy")
        found.append(Folded("Temperature and clocks while energy was measured", tuple(meanwhile)))
    return found


def _overview(run: Run, used: Sequence[tuple[str, Consumption]]) -> Figure:
    series = looks.series(run)
    intervals = [one.per_image_mj for _, one in used]
    digits = words.digits_apart(intervals, words.digits_for(one.value for one in intervals))
    marks = [
        charts.Mark(name, one.per_image_mj, series.get(name, looks.STEP), digits=digits)
        for name, one in used
    ]
    told = "; ".join(f"{mark.name} {words.estimate(mark.interval, digits)} mJ" for mark in marks)
    chart = Chart("energy", "Energy of an image, above idle", told)

    def draw(width: int) -> str:
        return charts.svg_intervals(chart, marks, "energy (mJ)", width=width, low=0.0)

    caption = (
        f"Lines are {words.confidence(intervals)} intervals; what idle power moved is in them."
    )
    return blocks.both_widths(chart.title, caption, draw)


def _table(energy: Energy, used: Sequence[tuple[str, Consumption]]) -> Table:
    idle = " and ".join(f"{mw / 1000:.3g}" for mw in energy.idle_mw or ())
    caption = (
        f"Of the {energy.scope} ({', '.join(energy.rails)}) by {energy.source}, a reading every "
        f"{energy.interval_ms or 0:.0f} ms; idle {idle} W before and after."
    )
    return Table(caption, _COLUMNS, tuple(_row(name, one) for name, one in used))


def _row(name: str, one: Consumption) -> tuple[Cell, ...]:
    each, ratio = one.per_image_mj, one.ratio_to_first
    digits = words.digits_apart([each], words.digits_for([each.value]))
    return (
        Cell(name),
        blocks.number(words.estimate(each, digits), each.value),
        blocks.number(
            words.estimate(ratio, words.digits_apart([ratio], 2)) if ratio else "",
            ratio.value if ratio else None,
        ),
        blocks.number(words.three_digits(one.gross_per_image_mj), one.gross_per_image_mj),
        blocks.number(words.three_digits(one.power_mw / 1000), one.power_mw),
        blocks.number(f"{one.images:,}", one.images),
    )


def _power(run: Run, measured: Measurement, energy: Energy) -> Figure:
    times_s, watts, stretches = _readings(run, energy)
    series = looks.series(run)
    names = [timing.subject for timing in measured.timings]
    bands = [
        Band("idle", start, end, looks.STEP)
        if subject < 0
        else Band(names[subject], start, end, series.get(names[subject], looks.STEP))
        for subject, start, end in stretches
    ]
    told = f"between {watts.min():.3g} and {watts.max():.3g} W over {times_s[-1]:.0f} s"
    chart = Chart("power", "Power over time", told)

    def draw(width: int) -> str:
        return timeline.svg_timeline(
            chart, times_s, watts, bands, "power (W)", width=width, from_zero=True
        )

    caption = f"Of {', '.join(energy.rails)} together; the bands below say what ran."
    return blocks.both_widths(chart.title, caption, draw)


def _readings(
    run: Run, energy: Energy
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[tuple[int, float, float]]]:
    """Return times in s, watts, and each stretch's subject (-1: idle), start and end in s.

    Raises:
        RecordError: the file is missing, was changed, or does not hold them.
    """
    if energy.readings_file is None or energy.readings_sha256 is None:
        raise RecordError("its readings were not kept")
    path = run_folder.measurement(run.folder) / energy.readings_file
    records.check_file(path, energy.readings_sha256)
    subjects = len(run.measurement.timings) if run.measurement else 0
    try:
        with np.load(path, allow_pickle=False) as file:
            rails = [str(rail) for rail in file["rails"]]
            values = file["values"][:, [rails.index(rail) for rail in energy.rails]].sum(axis=1)
            start_ns, times_s = file["times_ns"][0], np.diff(file["times_ns"]).cumsum() / 1e9
            rows = file["stretches"][:, [0, 2, 3]]
    except (IndexError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecordError(f"'{path.name}' does not hold readings of the rails: {error}") from error
    times_s = np.concatenate([[0.0], times_s])
    rising = len(times_s) >= _FEWEST and bool((np.diff(times_s) > 0).all())
    if not rising or values.shape != times_s.shape or not np.isfinite(values).all():
        raise RecordError(f"'{path.name}' must hold two or more finite readings at rising times")
    if rows[:, 0].max(initial=-1) >= subjects:
        raise RecordError(f"'{path.name}' tells of a model that was not measured")
    stretches = [
        (int(subject), (start - start_ns) / 1e9, (end - start_ns) / 1e9)
        for subject, start, end in rows
    ]
    if energy.source in _COUNTERS:
        return times_s[1:], np.diff(values) / np.diff(times_s) / 1e6, stretches
    return times_s, values / 1000, stretches
