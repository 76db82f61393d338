"""A loss over a plane as inline SVG: a shade for each band of values. Pure functions."""

import bisect
from collections.abc import Iterable, Sequence

from edgekd.report import svg
from edgekd.report.svg import NARROW, Axis, Chart, Drawing, Frame, Scale

SHADES = 9  # in the style sheet: h0, the palest, to h8

_LEFT_PX, _TOP_PX, _RIGHT_PX = 44, 32, 14
_LEGEND_PX = 100  # axis, its label, and the shades with their bounds


def bands(values: Iterable[float]) -> tuple[float, ...]:
    """Return the bounds between the shades: evenly spaced by ratio from the least to the greatest.

    Args:
        values: >= 0, of everything that is to be compared by shade; at least one.

    Returns:
        SHADES - 1 rising numbers, all equal where the values are.
    """
    found = list(values)
    most = max(found)
    least = max(min(found), most * 1e-4) or 1.0
    ratio = max(most, least) / least
    return tuple(least * ratio ** (step / SHADES) for step in range(1, SHADES))


def svg_heat(
    chart: Chart,
    positions: Sequence[float],
    plane: Sequence[Sequence[float]],
    bounds: Sequence[float],
    labels: tuple[str, str],
    *,
    width: int = NARROW,
) -> str:
    """Draw a value at each point of a square grid as a shaded cell, and the legend below.

    Args:
        chart: how it is called.
        positions: of the points along both axes, rising, evenly spaced; two or more.
        plane: rows from the bottom up, columns from left to right.
        bounds: between the shades; as ``bands`` returns them.
        labels: of the x and the y axis, with units.
        width: px.
    """
    # Whole pixels, so that no seam shows between the cells.
    size = max(1, (width - _LEFT_PX - _RIGHT_PX) // len(positions))
    side = size * len(positions)
    frame = Frame(_LEFT_PX, _LEFT_PX + side, _TOP_PX, _TOP_PX + side)
    drawing = Drawing(chart, width, frame.bottom + _LEGEND_PX)
    half = (positions[1] - positions[0]) / 2
    ends = (positions[0] - half, positions[-1] + half)
    ticks = (positions[0], 0.0, positions[-1])
    x_axis = Axis(Scale(*ends, frame.left, frame.right), ticks, labels[0])
    y_axis = Axis(Scale(*ends, frame.bottom, frame.top), ticks, labels[1])
    svg.draw_x_axis(drawing, frame, x_axis)
    svg.draw_y_axis(drawing, frame, y_axis)
    for y, row in zip(positions, plane, strict=True):
        for x, value in zip(positions, row, strict=True):
            left, top = x_axis.scale.at(x - half), y_axis.scale.at(y + half)
            shade = bisect.bisect_right(bounds, value)
            tip = f"({x:.3g}, {y:.3g}): {value:.4g}"
            drawing.rect(left, top, size, size, f"heat h{shade}", tip)
    drawing.mark(x_axis.scale.at(0), y_axis.scale.at(0), 2, "the checkpoint")
    _draw_legend(drawing, frame, bounds)
    return drawing.render()


def _draw_legend(drawing: Drawing, frame: Frame, bounds: Sequence[float]) -> None:
    """Draw the shades side by side, every other bound below them."""
    top, step = frame.bottom + 54, (frame.right - frame.left) / SHADES
    for shade in range(SHADES):
        drawing.rect(frame.left + shade * step, top, step, 12, f"heat h{shade}")
    for place, bound in enumerate(bounds, 1):
        if place % 2:
            text = f"{bound:.2g}"
            drawing.text(frame.left + place * step, top + 28, text, "tick", "middle")
