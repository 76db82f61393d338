"""Charts as inline SVG: one row for each thing that is compared. Pure functions of records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekd.core.records import Interval, Timing
from edgekd.report import svg, words
from edgekd.report.svg import WIDE, Axis, Chart, Drawing, Frame

_FAR = 2.0  # times the largest p90: a p99 beyond is not drawn
_BOTTOM_PX = 50  # for an axis and its label


@dataclass(frozen=True)
class Mark:
    """An estimate to be drawn as a point with whiskers."""

    name: str
    interval: Interval
    series: int
    digits: int = 2
    limit: float | None = None  # of the gate's rule
    note: str = ""  # in small type after the value


@dataclass(frozen=True)
class Bar:
    """A quantity to be drawn as a bar."""

    name: str
    value: float
    text: str  # the value, for people
    series: int


@dataclass(frozen=True)
class Layout:
    """How rows are laid out."""

    width: int  # px
    path: tuple[float, ...] = ()  # a value in each row, to be joined by a line


@dataclass(frozen=True)
class Row:
    """What stands around a row of marks."""

    name: str
    value: str
    tip: str


def svg_intervals(
    chart: Chart,
    marks: Sequence[Mark],
    label: str,
    *,
    width: int = WIDE,
    low: float | None = None,
    high: float | None = None,
    joined: bool = False,
) -> str:
    """Draw estimates with their confidence intervals, a row each.

    Args:
        chart: how it is called.
        marks: at least one.
        label: of the axis, with the unit.
        width: px.
        low: of the axis; None: as low as the lowest interval.
        high: of the axis; None: as high as the highest. What lies beyond is drawn as an arrow.
        joined: a line leads from each estimate to the next.
    """
    ends = [end for mark in marks for end in (mark.interval.low, mark.interval.high)]
    ends += [mark.limit for mark in marks if mark.limit is not None]
    least = min(ends) if low is None else low
    most = max(ends) if high is None else high
    rows = [_interval_row(mark, label) for mark in marks]
    reach = 11 if width < svg.SLIM else 15  # px; the strokes of a limit meet on wide screens

    def draw(drawing: Drawing, axis: Axis, y: float, place: int) -> None:
        limit = marks[place].limit
        if limit is not None and axis.scale.holds(limit):
            x = axis.scale.at(limit)
            drawing.line(x, y - reach, x, y + reach, "limit")
        _draw_interval(drawing, axis, y, marks[place], rows[place].tip)

    path = [mark.interval.value for mark in marks] if joined else []
    return _rows(chart, rows, (least, most), label, draw, Layout(width, tuple(path)))


def svg_bars(chart: Chart, bars: Sequence[Bar], label: str, *, width: int = WIDE) -> str:
    """Draw quantities as bars from zero, a row each."""
    rows = [Row(bar.name, bar.text, f"{bar.name}: {bar.text}") for bar in bars]

    def draw(drawing: Drawing, axis: Axis, y: float, place: int) -> None:
        bar, start = bars[place], axis.scale.at(0)
        drawing.rect(
            start, y - 7, axis.scale.at(bar.value) - start, 14, f"bar s{bar.series}",
            rows[place].tip,
        )  # fmt: skip

    return _rows(chart, rows, (0.0, max(bar.value for bar in bars)), label, draw, Layout(width))


def svg_latency(
    chart: Chart, timings: Sequence[Timing], series: Sequence[int], *, width: int = WIDE
) -> str:
    """Draw latencies on one axis from zero: p50 with its interval, p90 and p99 as strokes.

    The axis ends before a far p99, which would squeeze all medians into a corner.
    """
    rows = [_latency_row(timing) for timing in timings]

    def draw(drawing: Drawing, axis: Axis, y: float, place: int) -> None:
        timing, look, scale = timings[place], f"s{series[place]}", axis.scale
        tail = (timing.p99_ms or timing.p90_ms).value
        end = scale.at(tail) if scale.holds(tail) else scale.end
        drawing.line(scale.at(timing.p50_ms.value), y, end, y, f"tail {look}")
        for quantile, half in ((timing.p90_ms, 5), (timing.p99_ms, 8)):
            if quantile is not None and scale.holds(quantile.value):
                x = scale.at(quantile.value)
                drawing.line(x, y - half, x, y + half, f"stroke {look}")
        if not scale.holds(tail):
            drawing.arrow(end, y, 1, series[place], rows[place].tip)
        _whisker(drawing, axis, y, timing.p50_ms, series[place])
        drawing.mark(scale.at(timing.p50_ms.value), y, series[place], rows[place].tip)

    most = max((timing.p99_ms or timing.p90_ms).value for timing in timings)
    most = min(most, _FAR * max(timing.p90_ms.value for timing in timings))
    return _rows(chart, rows, (0.0, most), "latency (ms)", draw, Layout(width))


def svg_pairs(
    chart: Chart,
    pairs: Sequence[tuple[str, float, float]],
    label: str,
    series: tuple[int, int],
    *,
    width: int = WIDE,
) -> str:
    """Draw two values a row, joined by a line: before and after.

    Args:
        chart: how it is called.
        pairs: name, value before, value after.
        label: of the axis, with the unit.
        series: of the values before and after.
        width: px.
    """
    rows = [
        Row(name, words.signed(after - before, 1), f"{name}: {before:.1f} to {after:.1f} {label}")
        for name, before, after in pairs
    ]

    def draw(drawing: Drawing, axis: Axis, y: float, place: int) -> None:
        _, before, after = pairs[place]
        drawing.line(axis.scale.at(before), y, axis.scale.at(after), y, f"tail s{series[1]}")
        drawing.mark(axis.scale.at(before), y, series[0], rows[place].tip)
        drawing.mark(axis.scale.at(after), y, series[1], rows[place].tip)

    values = [value for _, before, after in pairs for value in (before, after)]
    return _rows(chart, rows, (min(values), max(values)), label, draw, Layout(width))


def _rows(
    chart: Chart,
    rows: Sequence[Row],
    ends: tuple[float, float],
    label: str,
    draw: Callable[[Drawing, Axis, float, int], None],
    layout: Layout,
) -> str:
    """Lay out rows above one axis, and let ``draw`` put the marks on each."""
    width, slim = layout.width, layout.width < svg.SLIM
    row_px, middle_px = (46, 32) if slim else (30, 15)
    names_px = 0 if slim else min(0.32 * width, max(svg.text_px(row.name) for row in rows))
    values_px = 0 if slim else max(svg.text_px(row.value) for row in rows)
    pad = 18 if slim else 24
    frame = Frame(names_px + pad, width - values_px - pad, 8, 8 + len(rows) * row_px)
    drawing = Drawing(chart, width, frame.bottom + _BOTTOM_PX)
    axis = svg.axis(ends, frame.left, frame.right, label, 4 if slim else 6)
    svg.draw_x_axis(drawing, frame, axis)
    ys = [frame.top + place * row_px + middle_px for place in range(len(rows))]
    if layout.path:
        at = axis.scale.at
        drawing.path([(at(x), y) for x, y in zip(layout.path, ys, strict=True)], "joint")
    for place, (row, y) in enumerate(zip(rows, ys, strict=True)):
        if slim:
            drawing.text(0, y - 17, svg.fit(row.name, 0.55 * width), "name")
            drawing.text(width, y - 17, row.value, "value", "end")
        else:
            drawing.text(names_px, y + 4.5, svg.fit(row.name, names_px), "name", "end")
            drawing.text(width, y + 4.5, row.value, "value", "end")
        draw(drawing, axis, y, place)
    return drawing.render()


def _latency_row(timing: Timing) -> Row:
    last, name = timing.p99_ms or timing.p90_ms, "p99" if timing.p99_ms else "p90"
    value = f"p50 {words.three_digits(timing.p50_ms.value)}, "
    value += f"{name} {words.three_digits(last.value)} ms"
    return Row(timing.subject, value, f"{timing.subject}: {value}")


def _interval_row(mark: Mark, label: str) -> Row:
    value = words.estimate(mark.interval, mark.digits)
    return Row(mark.name, value + mark.note, f"{mark.name}: {value} {label}")


def _draw_interval(drawing: Drawing, axis: Axis, y: float, mark: Mark, tip: str) -> None:
    value = mark.interval.value
    if not axis.scale.holds(value):
        beyond = value > axis.scale.high
        x = axis.scale.end - 2 if beyond else axis.scale.start + 2
        drawing.arrow(x, y, 1 if beyond else -1, mark.series, tip)
        return
    _whisker(drawing, axis, y, mark.interval, mark.series)
    drawing.mark(axis.scale.at(value), y, mark.series, tip)


def _whisker(drawing: Drawing, axis: Axis, y: float, interval: Interval, series: int) -> None:
    """Draw an interval, cut at the axis' ends; a cap marks each end that is not cut."""
    scale = axis.scale
    low, high = max(interval.low, scale.low), min(interval.high, scale.high)
    drawing.line(scale.at(low), y, scale.at(high), y, f"whisker s{series}")
    for end in (interval.low, interval.high):
        if scale.holds(end):
            x = scale.at(end)
            drawing.line(x, y - 4, x, y + 4, f"whisker s{series}")
