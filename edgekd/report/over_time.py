"""Temperature, clock and power over time: figures and a table, and the same in a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgekd.core.run_folder import Run
from edgekd.core.series import Series, Told, known
from edgekd.report import blocks, looks, timeline
from edgekd.report.blocks import Block, Cell, Column, Figure, Note, Table
from edgekd.report.svg import Chart
from edgekd.report.timeline import Band

_FEWEST = 2  # readings, for a line
_COLUMNS = (
    Column("Sensor"),
    Column("First", numeric=True),
    Column("Least", numeric=True),
    Column("Most", numeric=True),
    Column("Last", numeric=True),
)
_NO_TEMPERATURE = "the device has no thermal zone that can be read"


@dataclass(frozen=True)
class Sensor:
    """What one sensor told."""

    name: str  # "tj-thermal"
    quantity: str  # "temperature"
    unit: str  # "°C"
    values: Told
    digits: int = 0

    @property
    def range(self) -> str:
        """Return from where to where it went: "41.5 to 58.0 °C"."""
        ends = [f"{end(known(self.values)):.{self.digits}f}" for end in (min, max)]
        return f"{' to '.join(dict.fromkeys(ends))} {self.unit}"


def sensors(series: Series) -> Iterator[Sensor]:
    """Yield every sensor that told something; of temperatures the hottest zone first."""
    zones = sorted(series.temperatures_c, key=lambda zone: zone != series.hottest)
    for zone in zones:
        yield Sensor(zone, "temperature", "°C", series.temperatures_c[zone], 1)
    if series.gpu_mhz:
        yield Sensor("GPU", "clock", "MHz", series.gpu_mhz)
    if series.cpu_mhz:
        yield Sensor("fastest core", "clock", "MHz", series.cpu_mhz)
    if series.power_w:
        yield Sensor(" + ".join(series.rails), "power", "W", series.power_w, 2)


def line(series: Series) -> str:
    """Return a line for a terminal about the first sensor of each quantity; "": there is none."""
    told = [f"{each.quantity} {each.range} ({each.name})" for each in _first(series)]
    return ", ".join(told).replace("°", "")


def figures(run: Run, series: Series, of: str) -> list[Block]:
    """Return a chart of each quantity, and a table of all sensors.

    Args:
        run: whose colours the models have.
        series: what was told.
        of: what was measured meanwhile: "latency".
    """
    found: list[Block] = []
    if not series.temperatures_c:
        found.append(Note(f"There is no temperature over time: {_NO_TEMPERATURE}.", "quiet"))
    if series.no_power is not None:
        found.append(Note(f"There is no power over time: {series.no_power}.", "quiet"))
    found += [
        _figure(run, series, each, of)
        for each in _first(series)
        if len(known(each.values)) >= _FEWEST
    ]
    rows = tuple(_row(each) for each in sensors(series))
    if rows:
        caption = f"While {of} was measured, {series.times_s[-1]:.0f} s in all."
        found.append(Table(caption, _COLUMNS, rows))
    return found


def _first(series: Series) -> list[Sensor]:
    first: dict[str, Sensor] = {}
    for each in sensors(series):
        first.setdefault(each.quantity, each)
    return list(first.values())


def _figure(run: Run, series: Series, sensor: Sensor, of: str) -> Figure:
    told = [value is not None for value in sensor.values]
    times_s = np.array(series.times_s)[told]
    values = np.array(known(sensor.values))
    bands = _bands(run, series)
    chart = Chart(
        f"{sensor.quantity}-{of}",
        f"{sensor.quantity.capitalize()} while {of} was measured",
        f"{sensor.name}: {sensor.range} over {times_s[-1]:.0f} s",
    )
    label = f"{sensor.quantity} ({sensor.unit})"

    def draw(width: int) -> str:
        return timeline.svg_timeline(
            chart, times_s, values, bands, label, width=width, from_zero=sensor.unit == "W"
        )

    hottest = ", the hottest zone" * (sensor.quantity == "temperature")
    caption = f"{sensor.name}{hottest}: {sensor.range}. The bands below say what ran."
    return blocks.both_widths(chart.title, caption, draw)


def _bands(run: Run, series: Series) -> Sequence[Band]:
    colours = looks.series(run)
    return [
        Band("idle", turn.start_s, turn.end_s, looks.STEP)
        if turn.subject is None
        else Band(turn.subject, turn.start_s, turn.end_s, colours.get(turn.subject, looks.STEP))
        for turn in series.turns
    ]


def _row(sensor: Sensor) -> tuple[Cell, ...]:
    values = known(sensor.values)
    picked = (values[0], min(values), max(values), values[-1])
    return (
        Cell(f"{sensor.name}, {sensor.quantity} ({sensor.unit})"),
        *(blocks.number(f"{value:.{sensor.digits}f}", value) for value in picked),
    )
