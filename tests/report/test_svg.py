import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.report import svg
from edgekd.report.svg import Chart, Drawing, Frame, Scale
from tests.report.reading import read

FINITE = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


def drawing(title: str = "T", description: str = "D") -> Drawing:
    return Drawing(Chart("name", title, description), 100, 50)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, (0, 0.25, 0.5, 0.75, 1)),
        (0, 4.7, (0, 2, 4, 6)),
        (93.1, 94.2, (93, 93.5, 94, 94.5)),
        (-0.38, 1.4, (-0.5, 0, 0.5, 1, 1.5)),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: tuple[float, ...]) -> None:
    assert svg.nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize("value", [5.0, 0.0, -3e7])
def test_ticks_around_a_single_value_make_room_on_both_sides(value: float) -> None:
    ticks = svg.nice_ticks(value, value)
    assert ticks[0] < value < ticks[-1]


@settings(max_examples=40)
@given(FINITE, FINITE, st.integers(2, 12))
def test_ticks_are_few_even_and_span_the_values(one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    ticks = svg.nice_ticks(low, high, count)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 2 * count + 2
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert min(steps) > 0
    assert max(steps) == pytest.approx(min(steps), rel=1e-3, abs=1e-9)


@settings(max_examples=40)
@given(FINITE, FINITE)
def test_no_two_ticks_look_alike(one: float, other: float) -> None:
    ticks = svg.nice_ticks(min(one, other), max(one, other))
    texts = svg.tick_texts(ticks)
    assert len(set(texts)) == len(texts)


def test_ticks_are_shown_with_the_decimals_that_their_step_needs() -> None:
    assert svg.tick_texts((0, 0.25, 0.5)) == ["0.00", "0.25", "0.50"]
    assert svg.tick_texts((-20, 0, 20)) == ["-20", "0", "20"]


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    scale = Scale(90, 100, 300, 100)  # downwards, as y axes are
    assert [scale.at(value) for value in (90, 95, 100)] == [300, 200, 100]
    assert scale.holds(90)
    assert not scale.holds(100.1)


def test_a_tight_axis_ends_where_the_data_end() -> None:
    axis = svg.tight_axis(1.37, 1.52, 0, 100, "latency (ms)")
    assert (axis.scale.low, axis.scale.high) == (1.37, 1.52)
    assert all(1.37 <= tick <= 1.52 for tick in axis.ticks)
    assert len(axis.ticks) > 2


def test_a_tight_axis_makes_room_for_a_single_value() -> None:
    axis = svg.tight_axis(2.0, 2.0, 0, 100, "x (ms)")
    assert axis.scale.low < 2 < axis.scale.high


def test_a_drawing_is_an_image_with_title_and_description() -> None:
    image = read(drawing("Top-1 <b>", 'a "quote"').render()).one("svg")
    assert image.attributes["role"] == "img"
    named = image.attributes["aria-labelledby"].split()
    assert [image.all(tag)[0].attributes["id"] for tag in ("title", "desc")] == named
    assert image.all("title")[0].text == "Top-1 <b>"
    assert image.one("desc").text == 'a "quote"'


def test_every_text_is_escaped() -> None:
    hostile = "</text><script>alert(1)</script>&amp;"
    made = drawing()
    made.text(0, 0, hostile)
    made.upwards(0, 0, hostile, "label", "end")
    made.mark(1, 1, 0, hostile)
    made.rect(0, 0, 1, 1, "bar", hostile)
    made.arrow(0, 0, 1, 0, hostile)
    image = read(made.render())
    assert not image.all("script")
    assert [node.text for node in image.all("text")] == [hostile] * 2
    assert [node.text for node in image.all("title")[1:]] == [hostile] * 3


def test_series_differ_in_shape_as_well_as_in_colour() -> None:
    made = drawing()
    for series in range(4):
        made.mark(10, 10, series)
    marks = read(made.render()).all(look="mark")
    shapes = {(mark.tag, len(mark.attributes.get("d", ""))) for mark in marks}
    assert len(shapes) == 4
    assert len({tuple(mark.classes) for mark in marks}) == 4


def test_axes_carry_their_labels_and_every_tick() -> None:
    made, frame = drawing(), Frame(10, 90, 10, 40)
    axis = svg.axis((0.0, 4.0), 10, 90, "latency (ms)")
    svg.draw_x_axis(made, frame, axis)
    svg.draw_y_axis(made, frame, svg.axis((0.0, 1.0), 40, 10, "top-1 (%)"))
    image = read(made.render())
    assert [node.text for node in image.all(look="label")] == ["latency (ms)", "top-1 (%)"]
    ticks = [node for node in image.all(look="tick") if node.attributes["text-anchor"] == "middle"]
    assert [node.text for node in ticks] == ["0", "1", "2", "3", "4"]
    assert [node.number("x") for node in ticks] == [10, 30, 50, 70, 90]


def test_a_long_text_is_shortened_to_the_room_there_is() -> None:
    assert svg.fit("short", 100) == "short"
    fitted = svg.fit("a-very-long-name-of-an-artifact", 100)
    assert fitted == "a-very-…tifact"
    assert svg.text_px(fitted) <= 100 + svg.CHARACTER_PX
