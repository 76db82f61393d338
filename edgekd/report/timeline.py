"""What a sensor told over time as inline SVG, with what ran below it. A pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.report import looks, svg
from edgekd.report.svg import WIDE, Chart, Drawing, Frame

_POINTS = 600  # of the line; more cannot be told apart
_HEIGHT_PX, _LEFT_PX, _RIGHT_PX = 300, 48, 14
_LEGEND_PX, _BAND_PX = 36, 12


@dataclass(frozen=True)
class Band:
    """A time in which one model ran, or nothing did."""

    name: str
    start_s: float
    end_s: float
    series: int


def svg_timeline(
    chart: Chart,
    times_s: NDArray[np.float64],
    values: NDArray[np.float64],
    bands: Sequence[Band],
    label: str,
    *,
    width: int = WIDE,
    from_zero: bool = False,
) -> str:
    """Draw readings as a line, and a band below for each stretch of one model.

    Args:
        chart: how it is called.
        times_s: [N], at least two, rising.
        values: [N].
        bands: in their order; what is of one series has one name.
        label: of the values, with the unit.
        width: px.
        from_zero: the axis of the values begins there.
    """
    names = dict.fromkeys((band.series, band.name) for band in bands)
    rows = _legend_rows([name for _, name in names], width)
    frame = Frame(_LEFT_PX, width - _RIGHT_PX, _LEGEND_PX + svg.LINE_PX * rows, _HEIGHT_PX - 66)
    drawing = Drawing(chart, width, _HEIGHT_PX)
    x_axis = svg.tight_axis(times_s[0], times_s[-1], frame.left, frame.right, "time (s)")
    least = 0.0 if from_zero else float(values.min())
    y_axis = svg.axis((least, float(values.max())), frame.bottom, frame.top, label)
    svg.draw_y_axis(drawing, frame, y_axis)
    low = Frame(frame.left, frame.right, frame.top, frame.bottom + _BAND_PX + 4)
    svg.draw_x_axis(drawing, low, x_axis)
    for band in bands:
        start, end = x_axis.scale.at(band.start_s), x_axis.scale.at(band.end_s)
        tip = f"{band.name}: {band.start_s:.1f} to {band.end_s:.1f} s"
        drawing.rect(start, frame.bottom + 2, end - start, _BAND_PX, f"bin s{band.series}", tip)
    kept = np.unique(np.linspace(0, len(times_s) - 1, _POINTS).round().astype(int))
    drawing.path(
        [(x_axis.scale.at(times_s[i]), y_axis.scale.at(values[i])) for i in kept], "curve s0"
    )
    x, y = frame.left, _LEGEND_PX
    for series, name in names:
        if x > frame.left and x + svg.text_px(name) > frame.right:
            x, y = frame.left, y + svg.LINE_PX
        drawing.text(x, y, name, "tick" if series == looks.STEP else f"ink s{series}")
        x += svg.text_px(name) + 16
    return drawing.render()


def _legend_rows(names: Sequence[str], width: int) -> int:
    """Return how many rows the names take."""
    rows, x = 1, 0.0
    for name in names:
        if x and x + svg.text_px(name) > width - _LEFT_PX - _RIGHT_PX:
            rows, x = rows + 1, 0.0
        x += svg.text_px(name) + 16
    return rows
