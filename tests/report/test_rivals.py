"""The teacher in the student's precision, in the charts of accuracy over cost."""

from dataclasses import replace

import pytest

from edgekd.core.run_folder import Run
from edgekd.report import facts, html, looks
from tests.builders import ARTIFACTS, Step
from tests.report.conftest import judged
from tests.report.reading import Node, read

RIVAL = "teacher-onnx-int8"
FASTER = Step(lost=2, gained=1, bytes=900_000, latency_ratio=0.3)


@pytest.fixture(scope="module")
def contested(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which quantising the teacher alone beats the student in both."""
    artifacts = {RIVAL: FASTER, **ARTIFACTS}
    return judged(tmp_path_factory.mktemp("runs") / "1", artifacts=artifacts)


def tradeoff(run: Run) -> Node:
    images = read(html.html(run)).all("svg")
    return next(c for c in images if "tradeoff-760-" in c.attributes.get("aria-labelledby", ""))


def test_the_chart_names_teacher_and_student_in_both_precisions(contested: Run) -> None:
    names = {node.text for node in tradeoff(contested).all("text", "ink")}
    assert names == {"teacher-onnx-fp32", RIVAL, "onnx-fp32", "onnx-int8"}


def test_a_rival_that_beats_the_student_stands_on_the_front_in_its_place(contested: Run) -> None:
    image = tradeoff(contested)
    corners = image.one("path", "front").attributes["d"].removeprefix("M").split(" L")
    front = {tuple(float(v) for v in corner.split()) for corner in corners}
    on_front = {
        mark.one("title").text.partition(":")[0]
        for mark in image.all("circle", "mark")
        if (mark.number("cx"), mark.number("cy")) in front
    }
    assert on_front == {"teacher-onnx-fp32", RIVAL}


def test_a_rival_is_drawn_as_the_teacher_and_leaves_the_students_their_colours(
    contested: Run, run: Run
) -> None:
    drawn = looks.series(contested)
    assert drawn[RIVAL] == looks.TEACHER
    assert {name: drawn[name] for name in ARTIFACTS} == {
        name: looks.series(run)[name] for name in ARTIFACTS
    }


def test_what_quantising_alone_has_bought_is_said(contested: Run) -> None:
    said = next(text for text in facts.speed_sentences(contested) if RIVAL in text)
    assert said.startswith(f"'{RIVAL}': 100 % of the MACs, and latency is 0.300x")


def test_a_rival_is_not_taken_for_the_student_before_there_is_a_ladder(contested: Run) -> None:
    last = {name: contested.accuracies[name] for name in ("teacher", "onnx-int8", RIVAL)}
    begun = replace(contested, ladder=None, accuracies=last)
    assert facts.pair(begun) == ("teacher", "onnx-int8")
