from pathlib import Path

import numpy as np
import pytest

from edgekd.core import predictions, records
from edgekd.core.errors import DataError, RecordError, UsageError
from edgekd.core.records import Normalisation
from edgekd.data.images import ImageSet, checked_pixels, image_set
from edgekd.evaluate import accuracy
from tests import nets

PLAIN = Normalisation(mean=(0.0,), std=(1.0,))
SHA256 = "a" * 64


def images_of(labels: list[int], classes: int = 3, side: int = 2, offset: int = 0) -> ImageSet:
    pixels = np.zeros((len(labels), side, side, 1), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(len(labels)) + offset
    names = [f"class {k}" for k in range(classes)]
    return image_set(checked_pixels(pixels, "test"), labels, names, "test")


def record(
    folder: Path, logits: object, images: ImageSet, name: str = "net", sha256: str = SHA256
) -> records.Accuracy:
    logits_nk = np.asarray(logits, dtype=np.float32)
    out = folder / f"{name}.json"
    return accuracy.record(name, sha256, "host-cpu", "test", images, logits_nk, out)


def test_logits_are_those_worked_out_by_hand_whatever_the_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "_CHUNK_BYTES", 3 * 4)  # three images of four bytes
    model = nets.linear(tmp_path / "net.onnx", [[255, 0, 0, 0], [0, 0, 0, 1]], (1, 2, 2))
    images = images_of([0, 1, 0, 1, 0, 1, 0], classes=2)
    found = accuracy.logits_of(model, images, PLAIN)
    # Pixel (0, 0) of image i is i / 255, every other pixel is black.
    np.testing.assert_allclose(found, [[i, 0] for i in range(7)], atol=1e-5)


def test_a_model_of_one_image_at_a_time_gives_the_same_logits(tmp_path: Path) -> None:
    weights = np.arange(12).reshape(3, 4)
    free = nets.linear(tmp_path / "free.onnx", weights, (1, 2, 2))
    single = nets.linear(tmp_path / "single.onnx", weights, (1, 2, 2), 1)
    images = images_of([0, 1, 2, 0, 1])
    normalisation = Normalisation(mean=(0.5,), std=(0.25,))
    expected = accuracy.logits_of(free, images, normalisation)
    np.testing.assert_allclose(
        accuracy.logits_of(single, images, normalisation), expected, rtol=1e-6
    )
    # Black is (0 - 0.5) / 0.25 = -2; the first image is all black: -2 * (0 + 1 + 2 + 3)
    assert expected[0, 0] == pytest.approx(-12)


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(RecordError, match=r"torn\.onnx' cannot be opened"):
        accuracy.logits_of(tmp_path / "torn.onnx", images_of([0]), PLAIN)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    model = nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))
    with pytest.raises(RecordError, match=r"takes images of shape .*\(1, 1, 3, 3\)"):
        accuracy.logits_of(model, images_of([0], side=3), PLAIN)


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no device is called 'orin'"):
        accuracy.logits_of(tmp_path / "net.onnx", images_of([0]), PLAIN, device="orin")


def test_no_images_are_refused(tmp_path: Path) -> None:
    none = images_of([0]).take(np.array([], dtype=np.int64))
    with pytest.raises(DataError, match="no images"):
        accuracy.logits_of(tmp_path / "net.onnx", none, PLAIN)


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    colours = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    with pytest.raises(DataError, match="takes images of 3 channels, but these have 1"):
        accuracy.logits_of(tmp_path / "net.onnx", images_of([0]), colours)


def test_correct_images_are_counted_and_kept(tmp_path: Path) -> None:
    images = images_of([0, 1, 2, 2])
    found = record(tmp_path, [[9, 0, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9]], images)
    assert (found.correct, found.images) == (3, 4)
    assert found.top1_percent.value == 75.0
    # Wilson's interval at 95 % for 3 of 4: 30.06 % to 95.44 %
    assert found.top1_percent.low == pytest.approx(30.06, abs=0.01)
    assert found.top1_percent.high == pytest.approx(95.44, abs=0.01)
    assert found.images_sha256 == images.sha256
    assert records.read(records.Accuracy, tmp_path / "net.json") == found
    labels_n, predictions_n = predictions.labelled(found, tmp_path)
    assert labels_n.tolist() == [0, 1, 2, 2]
    assert predictions_n.tolist() == [0, 1, 0, 2]


def test_of_equal_logits_the_first_is_the_prediction(tmp_path: Path) -> None:
    assert record(tmp_path, np.zeros((3, 3)), images_of([0, 1, 2])).correct == 1


def test_up_to_five_classes_have_no_top_5(tmp_path: Path) -> None:
    found = record(tmp_path, np.eye(5), images_of([0, 1, 2, 3, 4], classes=5))
    assert found.top5_percent is None


def test_top_5_counts_the_five_largest_and_not_the_sixth(tmp_path: Path) -> None:
    falling = [[6, 5, 4, 3, 2, 1]] * 4
    found = record(tmp_path, falling, images_of([0, 0, 4, 5], classes=6))
    assert found.top5_percent == 75.0


def test_a_model_whose_logits_are_all_equal_is_not_right_among_its_best_five(
    tmp_path: Path,
) -> None:
    found = record(tmp_path, np.zeros((2, 10)), images_of([9, 8], classes=10))
    assert found.top5_percent == 0.0


def test_of_equal_logits_the_first_five_are_the_best(tmp_path: Path) -> None:
    # Every other class shares the largest: 1, 3, 5, 7 and 9 are the first of them.
    images = images_of(list(range(20)), classes=20).take(np.array([1, 3, 5, 7, 9, 11]))
    found = record(tmp_path, np.tile([0, 1], (6, 10)), images)
    assert found.top5_percent == pytest.approx(100 * 5 / 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_and_nothing_is_written(
    tmp_path: Path, bad: float
) -> None:
    logits = np.zeros((3, 3))
    logits[1, 2] = bad
    with pytest.raises(DataError, match="1 of 3 images, first for image 1"):
        record(tmp_path, logits, images_of([0, 1, 2]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(3, 4), (2, 3), (3,)])
def test_logits_that_do_not_fit_images_and_classes_are_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match="3 images of 3 classes"):
        record(tmp_path, np.zeros(shape), images_of([0, 1, 2]))


def test_results_on_the_same_images_can_be_paired(tmp_path: Path) -> None:
    images = images_of([0, 1, 2])
    record(tmp_path, np.eye(3), images, "teacher")
    record(tmp_path, np.zeros((3, 3)), images, "student")
    found = accuracy.paired(tmp_path / "teacher.json", tmp_path / "student.json")
    assert [array.tolist() for array in found] == [[0, 1, 2], [0, 1, 2], [0, 0, 0]]


def test_predictions_that_were_changed_cannot_be_paired(tmp_path: Path) -> None:
    images = images_of([0, 1, 2])
    record(tmp_path, np.eye(3), images, "teacher")
    record(tmp_path, np.zeros((3, 3)), images, "student")
    np.savez(tmp_path / "student.npz", labels=np.arange(3), predictions=np.arange(3))
    with pytest.raises(RecordError, match="was changed after its record was written"):
        accuracy.paired(tmp_path / "teacher.json", tmp_path / "student.json")


def test_results_on_other_images_cannot_be_paired(tmp_path: Path) -> None:
    record(tmp_path, np.eye(3), images_of([0, 1, 2]), "teacher")
    record(tmp_path, np.eye(3), images_of([0, 1, 2], offset=7), "student")
    with pytest.raises(RecordError, match="about different images") as raised:
        accuracy.paired(tmp_path / "teacher.json", tmp_path / "student.json")
    assert raised.value.exit_status == 2


def test_a_real_model_reads_real_digits_as_the_reference_evaluator_does(
    shared_data: Path, tmp_path: Path
) -> None:
    from onnx.reference import ReferenceEvaluator

    from edgekd.data.digits import Digits

    digits = Digits().read("validation").take(np.arange(60))
    pixels = np.kron(digits.batch(np.arange(60)), np.ones((1, 3, 3, 1), np.uint8))
    framed = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)))  # MNIST's 28 by 28, with its margin
    images = image_set(checked_pixels(framed, "test"), digits.labels_n, digits.class_names, "test")
    file = shared_data / "onnx" / "mnist_cntk_opset8.onnx"  # one image at a time, pixels to 255
    logits_nk = accuracy.logits_of(file, images, Normalisation(mean=(0.0,), std=(1 / 255,)))
    model = ReferenceEvaluator(str(file))
    feed = {"Input3": framed[:1].transpose(0, 3, 1, 2).astype(np.float32)}
    np.testing.assert_allclose(logits_nk[:1], model.run(None, feed)[0], rtol=1e-4, atol=1e-2)
    assert record(tmp_path, logits_nk, images).top1_percent.value > 60  # chance is 10
