from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import files, predictions, records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy
from tests import builders
from tests.builders import Step


@pytest.fixture
def path(tmp_path: Path) -> Path:
    builders.write_accuracy(tmp_path, "onnx-int8", Step(lost=2, gained=1), images=10, correct=7)
    return run_folder.accuracy(tmp_path, "onnx-int8")


def read(path: Path) -> np.ndarray:
    return predictions.correct(records.read(Accuracy, path), path.parent)


def rewrite(path: Path, **arrays: np.ndarray) -> None:
    """Put other arrays into the file, and its SHA-256 into the record."""
    file = path.with_suffix(".npz")
    np.savez(file, **arrays)
    builders.change(Accuracy, path, predictions_sha256=files.sha256_of(file))


def test_images_are_right_where_prediction_and_label_agree(path: Path) -> None:
    assert read(path).tolist() == [False] * 2 + [True] * 5 + [False] * 2 + [True]


def test_a_file_that_was_changed_is_refused(path: Path) -> None:
    file = path.with_suffix(".npz")
    np.savez(file, labels=np.arange(10), predictions=np.arange(10))
    with pytest.raises(RecordError, match="was changed after its record was written"):
        read(path)


def test_a_missing_file_is_refused(path: Path) -> None:
    path.with_suffix(".npz").unlink()
    with pytest.raises(RecordError, match="is missing"):
        read(path)


def test_a_record_that_counts_otherwise_is_refused(path: Path) -> None:
    builders.change(Accuracy, path, correct=9)
    with pytest.raises(RecordError, match="6 of 10 images right, but its record says 9 of 10"):
        read(path)


def test_a_prediction_that_is_not_a_number_is_refused(path: Path) -> None:
    rewrite(path, labels=np.arange(10), predictions=np.full(10, np.nan))
    with pytest.raises(RecordError, match="one whole number for each image, but holds float64"):
        read(path)


def test_labels_without_predictions_are_refused(path: Path) -> None:
    rewrite(path, labels=np.arange(10))
    with pytest.raises(RecordError, match="not a file of labels and predictions"):
        read(path)


def test_one_prediction_for_all_images_is_refused(path: Path) -> None:
    rewrite(path, labels=np.arange(10), predictions=np.array([3]))
    with pytest.raises(RecordError, match="10 labels, but 1 predictions"):
        read(path)


def test_an_empty_image_set_is_refused(path: Path) -> None:
    rewrite(path, labels=np.arange(0), predictions=np.arange(0))
    builders.change(Accuracy, path, images=0, correct=0)
    with pytest.raises(RecordError, match="has no images"):
        read(path)


def test_pickled_objects_are_not_opened(path: Path) -> None:
    rewrite(path, labels=np.array([object()]), predictions=np.array([object()]))
    with pytest.raises(RecordError, match="allow_pickle=False"):
        read(path)


def _refused_or_right(folder: Path, content: bytes) -> None:
    path = run_folder.accuracy(folder, "onnx-int8")
    path.with_suffix(".npz").write_bytes(content)
    builders.change(Accuracy, path, predictions_sha256=files.sha256_of(path.with_suffix(".npz")))
    try:
        assert int(read(path).sum()) == 7
    except RecordError:
        return


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("run")
    builders.write_accuracy(made, "onnx-int8", Step(), images=10, correct=7)
    return made


@pytest.fixture(scope="module")
def archive(folder: Path) -> bytes:
    return run_folder.accuracy(folder, "onnx-int8").with_suffix(".npz").read_bytes()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(folder: Path, archive: bytes, content: bytes) -> None:
    _refused_or_right(folder, content)


@given(st.data())
def test_a_damaged_archive_is_refused_or_still_right(
    folder: Path, archive: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(archive)
    for place in data.draw(st.lists(st.integers(0, len(archive) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    _refused_or_right(folder, bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))


def test_a_plain_array_is_refused(path: Path) -> None:
    file = path.with_suffix(".npz")
    with file.open("wb") as handle:
        np.save(handle, np.arange(10))
    builders.change(Accuracy, path, predictions_sha256=files.sha256_of(file))
    with pytest.raises(RecordError, match="not a file of labels and predictions"):
        read(path)


def test_discordant_images_are_those_that_one_model_has_right() -> None:
    reference_n = np.array([True, True, True, False, False])
    subject_n = np.array([True, False, False, True, False])
    assert predictions.discordant(reference_n, subject_n) == (2, 1)


def test_drop_is_in_percentage_points() -> None:
    reference_n, subject_n = np.arange(200) < 150, np.arange(200) < 145
    assert predictions.drop_pp(reference_n, subject_n, 0.95).value == pytest.approx(2.5)
