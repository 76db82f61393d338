"""Charts as inline SVG with two axes: trade-off, histogram, curves. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.core.records import Interval, Timing
from edgekd.report import naming, svg, words
from edgekd.report.naming import Box
from edgekd.report.svg import NARROW, WIDE, Chart, Drawing, Frame, Scale

_LEFT_PX, _BOTTOM_PX, _TOP_PX, _RIGHT_PX = 44, 50, 32, 14
_PANEL_PX = 250  # height of a small chart
_BINS = 36
_FAR = 8.0  # times p90 - p50: slower inferences are counted, not drawn
_LABEL_PX = 16  # least distance between two labels
_NEAR_PX = 28  # a name so near its point needs no line to it


@dataclass(frozen=True)
class Point:
    """A model's accuracy, and what an inference costs."""

    name: str
    cost: Interval  # latency, energy
    top1_percent: Interval
    series: int


@dataclass(frozen=True)
class Curve:
    """Values over epochs or blocks."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    series: int


def svg_tradeoff(
    chart: Chart,
    points: Sequence[Point],
    *,
    cost: tuple[str, str] = ("latency, p50", "ms"),
    width: int = WIDE,
) -> str:
    """Draw accuracy over cost with both intervals, and join what nothing beats in both.

    Args:
        chart: how it is called.
        points: at least one.
        cost: what the points' is, and its unit.
        width: px.
    """
    height = 380 if width >= svg.SLIM else 330
    frame = Frame(_LEFT_PX, width - _RIGHT_PX, _TOP_PX, height - _BOTTOM_PX)
    drawing = Drawing(chart, width, height)
    most = max(point.cost.high for point in points)
    x_axis = svg.tight_axis(0.0, most * 1.08, frame.left, frame.right, f"{cost[0]} ({cost[1]})")
    ends = [end for p in points for end in (p.top1_percent.low, p.top1_percent.high)]
    y_axis = svg.axis(ends, frame.bottom, frame.top, "top-1 accuracy (%)")
    svg.draw_x_axis(drawing, frame, x_axis)
    svg.draw_y_axis(drawing, frame, y_axis)
    front = [points[index] for index in pareto(points)]
    if len(front) > 1:
        places = [_place(point, x_axis.scale, y_axis.scale) for point in front]
        drawing.path(places, "front")
    for point in points:
        _draw_point(drawing, point, x_axis.scale, y_axis.scale, cost[1])
    _draw_names(drawing, frame, points, x_axis.scale, y_axis.scale)
    return drawing.render()


def pareto(points: Sequence[Point]) -> list[int]:
    """Return which points no other beats in both accuracy and cost, the cheapest first."""
    order = sorted(
        range(len(points)),
        key=lambda i: (points[i].cost.value, -points[i].top1_percent.value),
    )
    best, found = float("-inf"), []
    for index in order:
        if points[index].top1_percent.value > best:
            best = points[index].top1_percent.value
            found.append(index)
    return found


def svg_histogram(
    chart: Chart,
    samples_ms: NDArray[np.floating],
    timing: Timing,
    series: int,
    *,
    width: int = NARROW,
) -> str:
    """Draw how often each latency was measured; the far tail is counted, not drawn."""
    frame = Frame(_LEFT_PX, width - _RIGHT_PX, 72, _PANEL_PX - _BOTTOM_PX)
    drawing = Drawing(chart, width, _PANEL_PX)
    start, end = _ends(samples_ms, timing)
    x_axis = svg.tight_axis(start, end, frame.left, frame.right, "latency (ms)")
    edges = np.linspace(x_axis.scale.low, x_axis.scale.high, _BINS + 1)
    counts = np.histogram(samples_ms, edges)[0]
    y_axis = svg.axis(
        (0.0, float(counts.max())), frame.bottom, frame.top, "inferences (number)", count=4
    )
    svg.draw_x_axis(drawing, frame, x_axis)
    svg.draw_y_axis(drawing, frame, y_axis)
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        x, top = x_axis.scale.at(low), y_axis.scale.at(count)
        drawing.rect(
            x + 0.5, top, x_axis.scale.at(high) - x - 1, frame.bottom - top, f"bin s{series}",
            f"{low:.4g} to {high:.4g} ms: {count}",
        )  # fmt: skip
    _draw_quantiles(drawing, frame, x_axis.scale, timing)
    beyond = int((samples_ms > x_axis.scale.high).sum())
    if beyond:
        drawing.text(frame.right, frame.bottom - 8, f"{beyond} beyond →", "tick", "end")
    return drawing.render()


def svg_lines(
    chart: Chart,
    curves: Sequence[Curve],
    labels: tuple[str, str],
    *,
    width: int = NARROW,
    from_zero: bool = False,
    marked: tuple[float, str] | None = None,
    whole: bool = True,
) -> str:
    """Draw curves over one axis, each named at its end.

    Args:
        chart: how it is called.
        curves: at least one, of at least one value.
        labels: of the x and the y axis, with units.
        width: px.
        from_zero: the y axis begins at 0.
        marked: an x to be marked, and what it is called.
        whole: the x axis shows whole numbers only, as of epochs.
    """
    named = len(curves) > 1
    names_px = max(svg.text_px(curve.name) for curve in curves) + 6 if named else 0
    top = _TOP_PX + (16 if marked else 0)
    frame = Frame(_LEFT_PX + 4, width - _RIGHT_PX - names_px, top, _PANEL_PX - _BOTTOM_PX)
    drawing = Drawing(chart, width, _PANEL_PX)
    xs = [x for curve in curves for x in curve.xs]
    ys = [y for curve in curves for y in curve.ys] + ([0.0] if from_zero else [])
    if whole:
        x_axis = _whole_axis(xs, frame, labels[0])
    else:
        x_axis = svg.tight_axis(min(xs), max(xs), frame.left, frame.right, labels[0])
    y_axis = svg.axis(ys, frame.bottom, frame.top, labels[1], count=5)
    svg.draw_x_axis(drawing, frame, x_axis)
    svg.draw_y_axis(drawing, frame, y_axis)
    if marked:
        _draw_marked(drawing, frame, x_axis.scale, marked)
    for curve in curves:
        _draw_curve(drawing, x_axis.scale, y_axis.scale, curve)
    ends = [y_axis.scale.at(curve.ys[-1]) for curve in curves] if named else []
    for curve, y in zip(curves, spread(ends, _LABEL_PX, frame), strict=False):
        drawing.text(frame.right + 6, y + 4, curve.name, f"ink s{curve.series}")
    return drawing.render()


def spread(ys: Sequence[float], distance: float, frame: Frame) -> list[float]:
    """Move labels apart so that none covers another; they keep their order.

    Args:
        ys: where they would stand, px.
        distance: least between two, px.
        frame: they stay within it, as far as there is room.
    """
    order = sorted(range(len(ys)), key=lambda index: ys[index])
    found = list(ys)
    floor = frame.top
    for index in order:
        found[index] = max(found[index], floor)
        floor = found[index] + distance
    ceiling = frame.bottom
    for index in reversed(order):
        found[index] = min(found[index], ceiling)
        ceiling = found[index] - distance
    return found


def _whole_axis(xs: Sequence[float], frame: Frame, label: str) -> svg.Axis:
    """Return an axis over epochs or blocks: whole numbers, and no room beyond the last."""
    low, high = min(xs), max(xs)
    if low == high:
        low, high = low - 1, high + 1
    ticks = [tick for tick in svg.nice_ticks(low, high, 6) if tick == int(tick)]
    shown = tuple(tick for tick in ticks if low <= tick <= high)
    return svg.Axis(Scale(low, high, frame.left, frame.right), shown or (low, high), label)


def _place(point: Point, x: Scale, y: Scale) -> tuple[float, float]:
    return x.at(point.cost.value), y.at(point.top1_percent.value)


def _draw_point(drawing: Drawing, point: Point, x_scale: Scale, y_scale: Scale, unit: str) -> None:
    x, y = _place(point, x_scale, y_scale)
    cost, top1, look = point.cost, point.top1_percent, f"whisker s{point.series}"
    drawing.line(x_scale.at(cost.low), y, x_scale.at(cost.high), y, look)
    drawing.line(x, y_scale.at(top1.low), x, y_scale.at(top1.high), look)
    for end in (top1.low, top1.high):
        drawing.line(x - 4, y_scale.at(end), x + 4, y_scale.at(end), look)
    tip = f"{point.name}: {words.estimate(top1, 2)} %, {words.estimate(cost, 3)} {unit}"
    drawing.mark(x, y, point.series, tip)


def _draw_names(
    drawing: Drawing, frame: Frame, points: Sequence[Point], x_scale: Scale, y_scale: Scale
) -> None:
    """Write each name beside its point; a line leads to one that found no room there."""
    places = [_place(point, x_scale, y_scale) for point in points]
    lines = [
        Box(x - 2, y_scale.at(point.top1_percent.high), x + 2, y_scale.at(point.top1_percent.low))
        for point, (x, _) in zip(points, places, strict=True)
    ]
    spots = naming.spots([point.name for point in points], places, lines, frame)
    for point, (x, y), spot in zip(points, places, spots, strict=True):
        if abs(spot.y - y) > _NEAR_PX:
            drawing.line(x, y, spot.x, spot.y - 4, f"leader s{point.series}")
        drawing.text(spot.x, spot.y, point.name, f"ink s{point.series}", spot.anchor)


def _ends(samples_ms: NDArray[np.floating], timing: Timing) -> tuple[float, float]:
    """Return where a histogram begins and ends, so that a far tail does not squeeze the rest."""
    p50, p90 = timing.p50_ms.value, timing.p90_ms.value
    tail = (timing.p99_ms or timing.p90_ms).value
    far = min(tail + max(tail - p50, 0.01 * p50), p50 + _FAR * max(p90 - p50, 0.01 * p50))
    return float(samples_ms.min()), min(float(samples_ms.max()), far)


def _draw_quantiles(drawing: Drawing, frame: Frame, scale: Scale, timing: Timing) -> None:
    """Mark p50, p90 and p99, the first on top, so that no line crosses a name."""
    quantiles = [("p50", timing.p50_ms), ("p90", timing.p90_ms), ("p99", timing.p99_ms)]
    for line, (name, interval) in enumerate(quantiles):
        if interval is None:
            continue
        text, y = f"{name} {interval.value:.4g}", 30 + 14 * line
        if not scale.holds(interval.value):
            drawing.text(frame.right, y, f"{text} →", "value", "end")
            continue
        x = scale.at(interval.value)
        drawing.line(x, y + 4, x, frame.bottom, "quantile")
        fits = x + svg.text_px(text) <= frame.right + _RIGHT_PX
        drawing.text(x + 3 if fits else x - 3, y, text, "value", "" if fits else "end")


def _draw_marked(drawing: Drawing, frame: Frame, scale: Scale, marked: tuple[float, str]) -> None:
    x = scale.at(marked[0])
    drawing.line(x, frame.top - 4, x, frame.bottom, "quantile")
    at_right = x > (frame.left + frame.right) / 2
    drawing.text(x, frame.top - 8, marked[1], "tick", "end" if at_right else "")


def _draw_curve(drawing: Drawing, x_scale: Scale, y_scale: Scale, curve: Curve) -> None:
    points = [(x_scale.at(x), y_scale.at(y)) for x, y in zip(curve.xs, curve.ys, strict=True)]
    if len(points) > 1:
        drawing.path(points, f"curve s{curve.series}")
    else:
        drawing.mark(*points[0], curve.series)
