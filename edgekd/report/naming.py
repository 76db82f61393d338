"""Where the names of points stand, so that none covers a mark or another name. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgekd.report import svg
from edgekd.report.svg import Frame

_MARK_PX = 7.0  # half of a mark's side, with some air
_ASIDE_PX = 10.0  # between a point and its name
_UP_PX, _STEP_PX, _STEPS = 12.0, 8.0, 24  # where the baselines are tried
_ASCENT_PX, _DESCENT_PX = 12.0, 4.0  # of the type, with some air


class Box(NamedTuple):
    """A rectangle, px."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Say whether the two have a part in common."""
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.top < other.bottom and other.top < self.bottom


@dataclass(frozen=True)
class Spot:
    """Where a name is written."""

    x: float
    y: float  # of its baseline
    anchor: str  # "": the name begins at x; "end": it ends there
    box: Box


def spots(
    names: Sequence[str],
    places: Sequence[tuple[float, float]],
    lines: Sequence[Box],
    frame: Frame,
) -> list[Spot]:
    """Choose for each name the nearest spot beside its point that is free.

    Args:
        names: of the points.
        places: of the points, px.
        lines: to be kept free as well, where there is room.
        frame: that names stay in.

    Returns:
        One spot for each name. Where a crowd leaves none free, the nearest.
    """
    taken = [_around(x, y) for x, y in places]
    found = []
    for name, (x, y) in zip(names, places, strict=True):
        tried = list(_tried(svg.text_px(name), x, y, frame))
        free = [spot for spot in tried if not any(map(spot.box.meets, taken))]
        clear = [spot for spot in free if not any(map(spot.box.meets, lines))]
        chosen = (clear or free or tried)[0]
        taken.append(chosen.box)
        found.append(chosen)
    return found


def _around(x: float, y: float) -> Box:
    return Box(x - _MARK_PX, y - _MARK_PX, x + _MARK_PX, y + _MARK_PX)


def _tried(width: float, x: float, y: float, frame: Frame) -> Iterator[Spot]:
    """Yield spots right and left of a point, the nearest first; always at least one."""
    anywhere = [y - _UP_PX + step * _STEP_PX for step in range(-_STEPS, _STEPS + 1)]
    inside = [one for one in anywhere if frame.top <= one - _ASCENT_PX and one <= frame.bottom]
    for baseline in sorted(inside, key=lambda one: abs(one - (y - _UP_PX))) or [y]:
        ends = baseline - _ASCENT_PX, baseline + _DESCENT_PX
        right, left = x + _ASIDE_PX, x - _ASIDE_PX
        fits = right + width <= frame.right
        if fits:
            yield Spot(right, baseline, "", Box(right, ends[0], right + width, ends[1]))
        if left - width >= frame.left or not fits:
            yield Spot(left, baseline, "end", Box(left - width, ends[0], left, ends[1]))
