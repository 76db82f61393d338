import pytest

from edgekd.core.records import Interval, Timing
from edgekd.report import charts
from edgekd.report.svg import NARROW, WIDE, Chart
from tests.report.reading import Node, read

CHART = Chart("chart", "Title", "Description")


def interval(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high, confidence=0.95)


def ticks(image: Node) -> dict[float, float]:
    """Return the value of each tick of the x axis and where it stands."""
    marks = [node for node in image.all("text", "tick") if "text-anchor" in node.attributes]
    middle = [node for node in marks if node.attributes["text-anchor"] == "middle"]
    return {float(node.text): node.number("x") for node in middle}


def value_at(image: Node, x: float) -> float:
    """Read a value off the x axis."""
    (low, start), *_, (high, end) = sorted(ticks(image).items())
    return low + (x - start) / (end - start) * (high - low)


def timing(name: str, p50: float, p99: float | None) -> Timing:
    return Timing(
        subject=name, sha256="a" * 64, runs=300, p50_ms=interval(p50, p50 - 0.1, p50 + 0.1),
        p90_ms=interval(p50 + 0.2, p50, p50 + 0.3),
        p99_ms=None if p99 is None else interval(p99, p99, p99), ratio_to_first=None,
        drift_ratio=1.0, load_ms=1.0, cold_ms=1.0, peak_memory_mib=1.0,
    )  # fmt: skip


def test_a_point_and_its_whiskers_stand_where_the_axis_says() -> None:
    marks = [charts.Mark("a", interval(1.0, 0.5, 2.0), 0), charts.Mark("b", interval(3, 2, 4), 0)]
    image = read(charts.svg_intervals(CHART, marks, "drop (pp)"))
    points = image.all("circle", "mark")
    assert [value_at(image, p.number("cx")) for p in points] == pytest.approx([1, 3], abs=0.01)
    spans = [w for w in image.all("line", "whisker") if w.number("y1") == w.number("y2")]
    ends = [(value_at(image, w.number("x1")), value_at(image, w.number("x2"))) for w in spans]
    assert ends[0] == pytest.approx((0.5, 2.0), abs=0.01)
    assert ends[1] == pytest.approx((2, 4), abs=0.01)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_names_values_and_the_axis_are_written_out(width: int) -> None:
    marks = [charts.Mark("teacher", interval(94.2, 93.09, 95.14), 0)]
    image = read(charts.svg_intervals(CHART, marks, "top-1 accuracy (%)", width=width))
    assert image.one("text", "name").text == "teacher"
    assert image.one("text", "value").text == "94.20 [93.09, 95.14]"
    assert image.one("text", "label").text == "top-1 accuracy (%)"
    assert "94.20 [93.09, 95.14]" in image.one(look="mark").text


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_stands_outside_the_drawing(width: int) -> None:
    marks = [charts.Mark("a" * 60, interval(10.0, -20.0, 30.0), 1, limit=25.0)]
    image = read(charts.svg_intervals(CHART, marks, "drop (pp)", width=width))
    _, _, right, bottom = (float(v) for v in image.one("svg").attributes["viewbox"].split())
    for node in image.walk():
        for name, end in {"x": right, "x1": right, "x2": right, "y": bottom, "y1": bottom}.items():
            if name in node.attributes:
                assert 0 <= node.number(name) <= end


def test_what_lies_beyond_the_axis_is_an_arrow_towards_it() -> None:
    marks = [
        charts.Mark("fine", interval(0.5, 0, 1), 0),
        charts.Mark("collapsed", interval(82, 80, 84), 0),
    ]
    image = read(charts.svg_intervals(CHART, marks, "drop (pp)", high=2.0))
    assert max(ticks(image)) == 2.0
    (arrow,) = image.all("path", "mark")
    tip = float(arrow.attributes["d"].removeprefix("M").split()[0])
    assert tip == pytest.approx(ticks(image)[2.0] - 2)
    assert image.all("text", "value")[1].text == "82.00 [80.00, 84.00]"


def test_a_whisker_that_the_axis_cuts_has_no_cap_there() -> None:
    marks = [charts.Mark("a", interval(1.5, 1, 9), 0)]
    image = read(charts.svg_intervals(CHART, marks, "drop (pp)", low=0.0, high=2.0))
    caps = [w for w in image.all("line", "whisker") if w.number("x1") == w.number("x2")]
    assert [value_at(image, cap.number("x1")) for cap in caps] == pytest.approx([1.0], abs=0.01)


def test_a_limit_is_drawn_where_the_axis_says() -> None:
    marks = [charts.Mark("a", interval(0.5, 0, 1), 0, limit=0.75)]
    image = read(charts.svg_intervals(CHART, marks, "ratio"))
    assert value_at(image, image.one("line", "limit").number("x1")) == pytest.approx(0.75, abs=0.01)


def test_a_ladder_is_joined_from_rung_to_rung() -> None:
    marks = [charts.Mark(str(v), interval(v, v - 1, v + 1), 0) for v in (90.0, 10.0, 80.0)]
    image = read(charts.svg_intervals(CHART, marks, "top-1 (%)", joined=True))
    steps = image.one("path", "joint").attributes["d"].removeprefix("M").split(" L")
    points = [(p.number("cx"), p.number("cy")) for p in image.all("circle", "mark")]
    assert [tuple(float(v) for v in step.split()) for step in steps] == points


def test_bars_begin_at_zero_and_are_as_long_as_their_values() -> None:
    bars = [charts.Bar("a", 4.0, "4 MiB", 0), charts.Bar("b", 1.0, "1 MiB", 1)]
    image = read(charts.svg_bars(CHART, bars, "size (MiB)"))
    first, second = image.all("rect", "bar")
    assert first.number("x") == second.number("x") == ticks(image)[0.0]
    assert first.number("width") == pytest.approx(4 * second.number("width"), rel=1e-3)
    assert [node.text for node in image.all("text", "value")] == ["4 MiB", "1 MiB"]


def test_latencies_show_median_p90_and_p99() -> None:
    image = read(charts.svg_latency(CHART, [timing("a", 2.0, 3.0)], [0]))
    assert value_at(image, image.one("circle", "mark").number("cx")) == pytest.approx(2, abs=0.01)
    strokes = [value_at(image, node.number("x1")) for node in image.all("line", "stroke")]
    assert strokes == pytest.approx([2.2, 3.0], abs=0.01)
    assert image.one("text", "value").text == "p50 2.00, p99 3.00 ms"


def test_a_far_p99_is_an_arrow_and_leaves_room_for_the_medians() -> None:
    image = read(charts.svg_latency(CHART, [timing("a", 2.0, 80.0)], [0]))
    assert max(ticks(image)) < 10
    assert len(image.all("path", "mark")) == 1
    assert len(image.all("line", "stroke")) == 1  # p90
    assert image.one("text", "value").text == "p50 2.00, p99 80.0 ms"


def test_p90_stands_in_where_samples_are_too_few_for_p99() -> None:
    image = read(charts.svg_latency(CHART, [timing("a", 2.0, None)], [0]))
    assert image.one("text", "value").text == "p50 2.00, p90 2.20 ms"
    assert len(image.all("line", "stroke")) == 1


def test_a_pair_joins_before_and_after() -> None:
    image = read(charts.svg_pairs(CHART, [("cat", 90.0, 85.5)], "accuracy (%)", (0, 1)))
    tail = image.one("line", "tail")
    ends = [value_at(image, tail.number(end)) for end in ("x1", "x2")]
    assert ends == pytest.approx([90.0, 85.5], abs=0.05)
    assert image.one("text", "value").text == "-4.5"
