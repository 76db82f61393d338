import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from edgekd.core import run_folder
from edgekd.core.examples import MOST
from edgekd.data.images import ImageSet, Stored
from edgekd.pipeline import examples
from tests import builders


def numbered(count: int) -> ImageSet:
    """Images whose every pixel is their place."""
    pixels_nhwc = (
        np.zeros((count, 4, 4, 1), np.uint8) + np.arange(count, dtype=np.uint8)[:, None, None, None]
    )
    labels_n = np.arange(count) % builders.CLASSES
    names = tuple(str(digit) for digit in range(builders.CLASSES))
    return ImageSet(Stored(pixels_nhwc), np.arange(count), labels_n, names)


def test_images_that_only_one_of_the_two_has_right_are_kept(tmp_path: Path) -> None:
    artifacts = {"onnx-int8": builders.Step(lost=3, gained=2)}
    folder = builders.make_run(tmp_path / "1", images=100, correct=90, artifacts=artifacts,
                               checkpoints={"deep": builders.Step(lost=2)})  # fmt: skip
    run = run_folder.read(builders.conclude(folder))
    found = examples.choose(run, numbered(100))
    assert found is not None
    assert (found.teacher, found.student) == ("teacher", "onnx-int8")
    assert [one.place for one in found.lost] == [0, 1, 2]
    assert [one.place for one in found.gained] == [98, 99]
    first = found.lost[1]
    assert (first.label, first.teacher, first.student) == (1, 1, 2)
    with Image.open(io.BytesIO(base64.b64decode(found.gained[0].png))) as image:
        assert np.asarray(image).tolist() == [[98] * 4] * 4


def test_of_many_a_few_are_kept_from_the_first_to_the_last(tmp_path: Path) -> None:
    artifacts = {"onnx-int8": builders.Step(lost=50)}
    folder = builders.make_run(tmp_path / "1", images=100, correct=90, artifacts=artifacts,
                               checkpoints={"deep": builders.Step(lost=2)})  # fmt: skip
    found = examples.choose(run_folder.read(builders.conclude(folder)), numbered(100))
    assert found is not None
    places = [one.place for one in found.lost]
    assert len(places) == MOST
    assert (places[0], places[-1]) == (0, 49)
    assert found.gained == ()


def test_without_a_student_none_are_kept(tmp_path: Path) -> None:
    folder = builders.make_run(tmp_path / "1", images=100, correct=90, artifacts={}, checkpoints={})
    assert examples.choose(run_folder.read(folder), numbered(100)) is None
