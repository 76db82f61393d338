"""Confusions as inline SVG: a cell for each pair of classes. Pure functions.

Letters: K classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.report import svg
from edgekd.report.svg import WIDE, Chart, Drawing, Frame

_CELL_PX, _ROW_PX = 64.0, 36.0  # at most
_ROOM = 0.9  # of a name's width that a column must have; else names are turned
_MODEST = 4  # images: smaller changes stay pale
_NUMBER_FROM_PX = 22  # cells below it show no number


def svg_confusion(
    chart: Chart, change_kk: NDArray[np.integer], names: Sequence[str], *, width: int = WIDE
) -> str:
    """Draw by how many images each confusion has become more or less frequent.

    Args:
        chart: how it is called.
        change_kk: [K, K] images: rows are the labels, columns the predictions.
        names: of the classes, [K].
        width: px.
    """
    names_px = min(96.0, max(svg.text_px(name) for name in names))
    left = names_px + 34
    cell_px = min(_CELL_PX, (width - left - 2) / len(names))
    row_px = min(cell_px, _ROW_PX)
    turned = cell_px < _ROOM * names_px
    frame = Frame(left, left + cell_px * len(names), 6, 6 + row_px * len(names))
    height = frame.bottom + (names_px if turned else svg.LINE_PX) + 40
    drawing = Drawing(chart, width, height)
    most = max(_MODEST, int(np.abs(change_kk).max()))
    for row, label in enumerate(names):
        for column, predicted in enumerate(names):
            verb = "recognised as" if row == column else "taken for"
            change = int(change_kk[row, column])
            tip = f"{label} {verb} {predicted}: {change:+d} images"
            corner = (left + column * cell_px, frame.top + row * row_px)
            _draw_cell(drawing, corner, (cell_px, row_px), (change, most), tip)
    _draw_class_names(drawing, frame, names, names_px, turned=turned)
    middle = (frame.left + frame.right) / 2
    drawing.text(middle, height - 12, "predicted class (images)", "label", "middle")
    drawing.upwards(12, (frame.top + frame.bottom) / 2, "label (class)", "label", "middle")
    return drawing.render()


def _draw_class_names(
    drawing: Drawing, frame: Frame, names: Sequence[str], names_px: float, *, turned: bool
) -> None:
    cell_px = (frame.right - frame.left) / len(names)
    row_px = (frame.bottom - frame.top) / len(names)
    for place, name in enumerate(names):
        shown, x = svg.fit(name, names_px), frame.left + (place + 0.5) * cell_px
        y = frame.top + (place + 0.5) * row_px + 4
        drawing.text(frame.left - 8, y, shown, "tick", "end")
        if turned:
            drawing.upwards(x + 4, frame.bottom + 8, shown, "tick", "end")
        else:
            drawing.text(x, frame.bottom + 16, shown, "tick", "middle")


def _draw_cell(
    drawing: Drawing,
    corner: tuple[float, float],
    size: tuple[float, float],
    change: tuple[int, int],
    tip: str,
) -> None:
    """Draw a change against the largest one, in four strengths."""
    (more, most), (x, y), (width, height) = change, corner, size
    strength = min(4, 1 + 4 * abs(more) // (most + 1)) if more else 0
    look = f"cell {'more' if more > 0 else 'less'}{strength}" if more else "cell"
    drawing.rect(x + 1, y + 1, width - 2, height - 2, look, tip)
    if more and width >= _NUMBER_FROM_PX:
        middle = (x + width / 2, y + height / 2 + 4)
        drawing.text(*middle, f"{more:+d}", f"count n{strength}", "middle")
