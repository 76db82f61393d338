import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core.records import Interval
from edgekd.report import plots
from edgekd.report.plots import Curve, Point
from edgekd.report.svg import NARROW, WIDE, Chart, Frame
from tests.report.reading import Node, read
from tests.report.test_charts import timing

CHART = Chart("chart", "Title", "Description")


def point(name: str, ms: float, percent: float) -> Point:
    latency = Interval(value=ms, low=ms - 0.1, high=ms + 0.1, confidence=0.95)
    top1 = Interval(value=percent, low=percent - 1, high=percent + 1, confidence=0.95)
    return Point(name, latency, top1, 0)


def corners(path: Node) -> list[tuple[float, ...]]:
    steps = path.attributes["d"].removeprefix("M").split(" L")
    return [tuple(float(v) for v in step.split()) for step in steps]


def test_the_front_leaves_out_what_is_slower_and_no_better() -> None:
    points = [
        point("teacher", 4, 94), point("slow", 3, 92), point("int8", 1, 93), point("worse", 1, 90),
    ]  # fmt: skip
    assert plots.pareto(points) == [2, 0]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_no_point_beats_one_on_the_front(pairs: list[tuple[int, int]]) -> None:
    points = [point("p", ms, percent) for ms, percent in pairs]
    front = plots.pareto(points)
    assert front
    for index in front:
        ms, percent = pairs[index]
        assert not any(m <= ms and p >= percent and (m, p) != (ms, percent) for m, p in pairs)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_tradeoff_names_every_point_and_both_units(width: int) -> None:
    points = [point("teacher", 4, 94), point("int8", 1, 93)]
    image = read(plots.svg_tradeoff(CHART, points, width=width))
    assert [node.text for node in image.all("text", "ink")] == ["teacher", "int8"]
    labels = [node.text for node in image.all("text", "label")]
    assert labels == ["latency, p50 (ms)", "top-1 accuracy (%)"]
    assert len(image.all(look="mark")) == 2
    marks = [(m.number("cx"), m.number("cy")) for m in image.all("circle", "mark")]
    assert marks[0][0] > marks[1][0]  # slower stands right
    assert marks[0][1] < marks[1][1]  # better stands above
    assert corners(image.one("path", "front")) == marks[::-1]


def test_bars_and_what_is_beyond_count_every_sample() -> None:
    samples = np.array([1.0] * 90 + [1.1] * 9 + [50.0])
    image = read(plots.svg_histogram(CHART, samples, timing("a", 1.0, 1.1), 0))
    counts = [int(node.text.rpartition(": ")[2]) for node in image.all("rect", "bin")]
    assert sum(counts) == 99
    assert "1 beyond →" in [node.text for node in image.all("text", "tick")]


def test_a_histogram_of_equal_samples_can_be_drawn() -> None:
    image = read(plots.svg_histogram(CHART, np.full(40, 2.0), timing("a", 2.0, None), 0))
    counts = [int(node.text.rpartition(": ")[2]) for node in image.all("rect", "bin")]
    assert sum(counts) == 40


def test_a_far_p99_is_named_and_does_not_squeeze_the_rest() -> None:
    samples = np.array([2.0] * 95 + [2.3] * 3 + [80.0] * 2)
    image = read(plots.svg_histogram(CHART, samples, timing("a", 2.0, 80.0), 0))
    texts = [node.text for node in image.all("text", "value")]
    assert texts == ["p50 2", "p90 2.2", "p99 80 →"]
    assert len(image.all("line", "quantile")) == 2
    assert "2 beyond →" in [node.text for node in image.all("text", "tick")]


def test_quantiles_are_named_with_their_values() -> None:
    samples = np.linspace(1.9, 3.2, 300)
    image = read(plots.svg_histogram(CHART, samples, timing("a", 2.0, 3.0), 0))
    texts = [node.text for node in image.all("text", "value")]
    assert texts == ["p50 2", "p90 2.2", "p99 3"]


def test_a_curve_passes_through_its_values() -> None:
    curve = Curve("ce", (1.0, 2.0, 3.0), (4.0, 2.0, 0.0), 0)
    image = read(plots.svg_lines(CHART, [curve], ("epoch (number)", "loss (unitless)")))
    (x1, y1), (x2, y2), (x3, y3) = corners(image.one("path", "curve"))
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y2 - y1 == pytest.approx(y3 - y2)
    assert y1 < y3  # larger stands above


def test_several_curves_are_named_at_their_ends() -> None:
    curves = [Curve("ce", (1.0, 2.0), (1.0, 1.0), 1), Curve("kd", (1.0, 2.0), (1.0, 1.0), 2)]
    image = read(plots.svg_lines(CHART, curves, ("epoch (number)", "loss (unitless)")))
    names = image.all("text", "ink")
    assert [node.text for node in names] == ["ce", "kd"]
    assert abs(names[0].number("y") - names[1].number("y")) >= 15  # not one over the other


def test_a_single_epoch_is_a_point() -> None:
    curve = Curve("ce", (1.0,), (0.7,), 0)
    image = read(plots.svg_lines(CHART, [curve], ("epoch (number)", "loss (unitless)")))
    assert len(image.all(look="mark")) == 1
    assert not image.all("path", "curve")


def test_the_kept_epoch_is_marked() -> None:
    curve = Curve("top-1", (1.0, 2.0, 3.0), (80.0, 82.0, 81.0), 0)
    labels = ("epoch (number)", "top-1 (%)")
    image = read(plots.svg_lines(CHART, [curve], labels, marked=(2.0, "kept: epoch 2")))
    assert image.one("line", "quantile").number("x1") == corners(image.one("path", "curve"))[1][0]
    assert "kept: epoch 2" in [node.text for node in image.all("text", "tick")]


@settings(max_examples=40)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_keep_their_distance_and_their_order(ys: list[float]) -> None:
    found = plots.spread(ys, 16, Frame(0, 0, 0, 100))
    order = sorted(range(len(ys)), key=lambda index: ys[index])
    placed = [found[index] for index in order]
    assert all(b - a >= 16 - 1e-9 for a, b in itertools.pairwise(placed))
    assert max(placed) <= 100
