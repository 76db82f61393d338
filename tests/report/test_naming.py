import itertools

import pytest

from edgekd.report import naming
from edgekd.report.naming import Box
from edgekd.report.svg import Frame

FRAME = Frame(0, 400, 0, 300)


def around(x: float, y: float) -> Box:
    return Box(x - 4, y - 4, x + 4, y + 4)


def test_a_point_alone_is_named_at_its_right_above() -> None:
    (spot,) = naming.spots(["net"], [(100.0, 100.0)], [], FRAME)
    assert (spot.x, spot.y, spot.anchor) == (110.0, 88.0, "")


def test_a_name_that_does_not_fit_at_the_right_stands_at_the_left() -> None:
    (spot,) = naming.spots(["a long name"], [(390.0, 100.0)], [], FRAME)
    assert (spot.x, spot.y, spot.anchor) == (380.0, 88.0, "end")


def test_points_side_by_side_do_not_push_each_other_s_names_away() -> None:
    near, far = naming.spots(["a", "b"], [(50.0, 100.0), (300.0, 100.0)], [], FRAME)
    assert near.y == far.y == 88.0


@pytest.mark.parametrize("count", [2, 5, 8])
def test_names_of_a_crowd_cover_neither_each_other_nor_a_mark(count: int) -> None:
    places = [(100.0 + place, 150.0 + place) for place in range(count)]
    spots = naming.spots([f"network {place}" for place in range(count)], places, [], FRAME)
    boxes = [spot.box for spot in spots]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].meets(pair[1])]
    assert not [box for box in boxes if any(box.meets(around(x, y)) for x, y in places)]
    assert all(box.top >= FRAME.top for box in boxes)
    assert all(box.right <= FRAME.right for box in boxes)


def test_lines_are_kept_free_where_there_is_room() -> None:
    line = Box(130.0, 60.0, 134.0, 130.0)
    (spot,) = naming.spots(["network"], [(100.0, 100.0)], [line], FRAME)
    assert not spot.box.meets(line)
    across = Box(0.0, 0.0, 400.0, 300.0)  # everywhere
    (spot,) = naming.spots(["network"], [(100.0, 100.0)], [across], FRAME)
    assert (spot.x, spot.y) == (110.0, 88.0)


def test_a_crowd_without_room_still_has_all_its_names() -> None:
    narrow = Frame(0, 20, 0, 20)
    assert len(naming.spots(["one", "two", "three"], [(10.0, 10.0)] * 3, [], narrow)) == 3
