"""Images that were lost and gained, in the section about classes."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from edgekd.core.examples import Example, Examples
from edgekd.core.run_folder import Run
from edgekd.data import png
from edgekd.report import html
from tests.report.reading import Node, read

PNG = base64.b64encode(png.encode(np.zeros((8, 8, 1), np.uint8))).decode()


def kept(run: Run, **changes: object) -> Run:
    """Give a run two images that 'onnx-int8' lost and one that it gained."""
    teacher, student = run.accuracies["teacher"], run.accuracies["onnx-int8"]
    examples = Examples(
        provenance=teacher.provenance,
        parents=(teacher.predictions_sha256, student.predictions_sha256),
        teacher="teacher",
        student="onnx-int8",
        images_sha256=teacher.images_sha256,
        lost=(
            Example(place=0, label=0, teacher=0, student=1, png=PNG),
            Example(place=7, label=7, teacher=7, student=8, png=PNG),
        ),
        gained=(Example(place=99, label=9, teacher=4, student=9, png=PNG),),
    )
    return replace(run, examples=examples.model_copy(update=changes))


def classes(run: Run) -> Node:
    page = read(html.html(run))
    return next(node for node in page.all("section") if node.attributes.get("id") == "classes")


def test_each_image_is_shown_with_its_label_and_who_is_wrong(run: Run) -> None:
    lost, gained = classes(kept(run)).all("ul", "gallery")
    assert [one.text for one in lost.all("li")] == ["0student: 1", "7student: 8"]
    assert [one.text for one in gained.all("li")] == ["9teacher: 4"]
    image = lost.all("img")[1]
    assert image.attributes["src"] == f"data:image/png;base64,{PNG}"
    assert image.attributes["alt"] == "Test image 7, labelled 7"


def test_it_is_said_how_many_there_are_in_all(run: Run) -> None:
    captions = [node.text for node in classes(kept(run)).all("figcaption")]
    assert "Lost: only the teacher is right 2 of 11 images, spread over the image set." in captions
    assert "Gained: only the student is right 1 of 6 images, spread over the image set." in captions


def test_a_run_without_images_says_so(run: Run) -> None:
    section = classes(run)
    assert not section.all("img")
    assert "No example images were kept in this run." in section.text


def test_images_of_other_predictions_are_not_shown(run: Run) -> None:
    section = classes(kept(run, parents=("a" * 64, "b" * 64)))
    assert not section.all("img")
    assert "about other predictions" in section.text


def test_an_image_can_be_nothing_but_base64(run: Run) -> None:
    with pytest.raises(ValidationError):
        Example(place=0, label=0, teacher=0, student=1, png='"><script>')
