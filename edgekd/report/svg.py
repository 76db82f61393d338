"""Draw on an SVG: scales, ticks, axes, marks. Colours and type come from the page's style sheet.

Every text is escaped here and nowhere else. A drawing has a title and a description for those who
do not see it; marks may carry a tip, which browsers show under the pointer.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDE, NARROW = 760, 360  # px; the page shows one or the other
SLIM = 520  # px; below, drawings are laid out for a narrow screen
CHARACTER_PX = 6.9  # of 13 px type, on average; generous, so that no label is cut off
LINE_PX = 18
_TICK_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MARKER_PX = 5.0
_LABEL_Y_PX = 14
_SHAPES = 4  # marks differ in shape too, for those who do not see the colours


@dataclass(frozen=True)
class Chart:
    """What a drawing is called."""

    name: str  # for anchors: unique on a page, of letters, digits and hyphens
    title: str
    description: str  # what can be seen on it, for those who do not see it


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float  # pixel of low
    end: float  # pixel of high

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Say whether a value lies on the axis."""
        slack = 1e-9 * (self.high - self.low)
        return self.low - slack <= value <= self.high + slack


@dataclass(frozen=True)
class Frame:
    """The part of a drawing where the data are, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Axis:
    """A scale with the values to be marked on it."""

    scale: Scale
    ticks: tuple[float, ...]
    label: str  # with the unit


def nice_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Return round values that span [low, high]: the first is at most low, the last at least high.

    Args:
        low: finite.
        high: finite, at least low; where they are equal, room is made on both sides.
        count: about how many.
    """
    if high <= low:
        room = abs(low) * 0.05 or 0.5
        low, high = low - room, high + room
    raw = (high - low) / max(count - 1, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in _TICK_STEPS if size * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def axis(values: Sequence[float], start: float, end: float, label: str, count: int = 5) -> Axis:
    """Return an axis with round ends that holds all values."""
    ticks = nice_ticks(min(values), max(values), count)
    return Axis(Scale(ticks[0], ticks[-1], start, end), ticks, label)


def tight_axis(low: float, high: float, start: float, end: float, label: str) -> Axis:
    """Return an axis that ends where it is told to, with round values in between."""
    if high <= low:
        return axis((low, high), start, end, label)
    ticks = tuple(tick for tick in nice_ticks(low, high, 6) if low <= tick <= high)
    return Axis(Scale(low, high, start, end), ticks or (low, high), label)


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Return the ticks with as many decimals as tell them apart."""
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=1.0)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    while digits < 12 and abs(round(step, digits) - step) > step * 1e-6:  # noqa: PLR2004
        digits += 1
    return [f"{tick + 0.0:.{digits}f}" for tick in ticks]


def text_px(text: str) -> float:
    """Return about how wide a text is."""
    return len(text) * CHARACTER_PX


class Drawing:
    """An SVG in the making.

    Args:
        chart: how it is called.
        width: px.
        height: px.
    """

    def __init__(self, chart: Chart, width: float, height: float) -> None:
        self.name = f"{chart.name}-{width:g}"  # the page has a chart in two widths
        self.width = width
        self.height = height
        self._chart = chart
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str) -> None:
        """Draw a straight line."""
        self._parts.append(
            f'<line class="{look}" x1="{_px(x1)}" y1="{_px(y1)}" x2="{_px(x2)}" y2="{_px(y2)}"/>'
        )

    def path(self, points: Sequence[tuple[float, float]], look: str) -> None:
        """Draw a line through points."""
        steps = " L".join(f"{_px(x)} {_px(y)}" for x, y in points)
        self._parts.append(f'<path class="{look}" d="M{steps}"/>')

    def rect(
        self, x: float, y: float, width: float, height: float, look: str, tip: str = ""
    ) -> None:
        """Draw a rectangle."""
        self._parts.append(
            f'<rect class="{look}" x="{_px(x)}" y="{_px(y)}" width="{_px(max(width, 0))}" '
            f'height="{_px(max(height, 0))}"' + _with_tip("rect", tip)
        )

    def text(self, x: float, y: float, text: str, look: str = "text", anchor: str = "") -> None:
        """Write a text; anchor "middle" or "end", else it begins at x."""
        where = f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(
            f'<text class="{look}" x="{_px(x)}" y="{_px(y)}"{where}>{escape(text)}</text>'
        )

    def upwards(self, x: float, y: float, text: str, look: str, anchor: str) -> None:
        """Write a text that runs upwards."""
        self._parts.append(
            f'<text class="{look}" x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}" '
            f'transform="rotate(-90 {_px(x)} {_px(y)})">{escape(text)}</text>'
        )

    def mark(self, x: float, y: float, series: int, tip: str = "") -> None:
        """Draw a point in the shape and colour of a series."""
        look = f'class="mark s{series}"'
        r = _MARKER_PX
        shape = series % _SHAPES
        if shape == 0:
            element, geometry = "circle", f'cx="{_px(x)}" cy="{_px(y)}" r="{r}"'
        elif shape == 1:
            element = "rect"
            geometry = (
                f'x="{_px(x - r + 0.5)}" y="{_px(y - r + 0.5)}" width="{2 * r - 1}" '
                f'height="{2 * r - 1}"'
            )
        else:
            element = "path"
            corners = [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)]
            if shape == _SHAPES - 1:
                corners = [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)]
            steps = " L".join(f"{_px(x + r * dx)} {_px(y + r * dy)}" for dx, dy in corners)
            geometry = f'd="M{steps}Z"'
        self._parts.append(f"<{element} {look} {geometry}{_with_tip(element, tip)}")

    def arrow(self, x: float, y: float, direction: int, series: int, tip: str = "") -> None:
        """Draw a head that says: beyond the axis, to the right (1) or left (-1)."""
        points = f"{_px(x)} {_px(y)} L{_px(x - 9 * direction)} {_px(y - 5)} "
        points += f"L{_px(x - 9 * direction)} {_px(y + 5)}Z"
        self._parts.append(f'<path class="mark s{series}" d="M{points}"{_with_tip("path", tip)}')

    def render(self) -> str:
        """Return the SVG element."""
        title, description = escape(self._chart.title), escape(self._chart.description)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {_px(self.width)} {_px(self.height)}" '
            f'aria-labelledby="{self.name}-title {self.name}-desc">'
            f'<title id="{self.name}-title">{title}</title>'
            f'<desc id="{self.name}-desc">{description}</desc>' + "".join(self._parts) + "</svg>"
        )


def draw_x_axis(drawing: Drawing, frame: Frame, axis: Axis) -> None:
    """Draw vertical grid lines, their values below the frame, and the label below these."""
    for tick, text in zip(axis.ticks, tick_texts(axis.ticks), strict=True):
        x = axis.scale.at(tick)
        drawing.line(x, frame.top, x, frame.bottom, "grid")
        drawing.text(x, frame.bottom + LINE_PX, text, "tick", "middle")
    drawing.line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    middle = (frame.left + frame.right) / 2
    drawing.text(middle, frame.bottom + 2.3 * LINE_PX, axis.label, "label", "middle")


def draw_y_axis(drawing: Drawing, frame: Frame, axis: Axis) -> None:
    """Draw horizontal grid lines, their values left of them, and the label in the upper corner."""
    for tick, text in zip(axis.ticks, tick_texts(axis.ticks), strict=True):
        y = axis.scale.at(tick)
        drawing.line(frame.left, y, frame.right, y, "grid")
        drawing.text(frame.left - 8, y + 4, text, "tick", "end")
    drawing.text(0, _LABEL_Y_PX, axis.label, "label")


def fit(text: str, px: float) -> str:
    """Leave out the middle of a text that is too wide: names differ at their ends.

    The tables have it whole.
    """
    room = max(5, int(px / CHARACTER_PX + 0.5))
    if len(text) <= room:
        return text
    return f"{text[: room // 2]}…{text[room // 2 + 1 - room :]}"


def _with_tip(element: str, tip: str) -> str:
    return f"><title>{escape(tip)}</title></{element}>" if tip else "/>"


def _px(value: float) -> str:
    """Return a coordinate with a decimal at most."""
    return f"{round(value, 1) + 0.0:g}"
