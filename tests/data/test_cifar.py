import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekd.core.errors import DataError
from edgekd.data.cifar import Cifar
from edgekd.data.images import ImageSet

Pixels = NDArray[np.uint8]
Published = Callable[[dict[str, Any]], bytes]


def rows_of(pixels_nhwc: Pixels) -> Pixels:
    return pixels_nhwc.transpose(0, 3, 1, 2).reshape(len(pixels_nhwc), 3072)


def write_binary(path: Path, pixels_nhwc: Pixels, *labels: list[int]) -> None:
    columns = [np.array(column, np.uint8)[:, None] for column in labels]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.concatenate([*columns, rows_of(pixels_nhwc)], axis=1).tobytes())


def read(kind: str, place: Path, split: Any) -> ImageSet:
    found = Cifar(kind, place).read(split)
    assert found is not None
    return found


def all_of(images: ImageSet) -> Pixels:
    return images.batch(np.arange(len(images)))


def test_a_binary_record_is_a_label_then_red_green_and_blue_by_rows(tmp_path: Path) -> None:
    planes = np.zeros((3, 32, 32), np.uint8)
    planes[0, 0, 1] = 10  # red, first row, second column
    planes[1, 2, 0] = 20
    planes[2, 31, 31] = 30
    (tmp_path / "test_batch.bin").write_bytes(bytes([7]) + planes.tobytes())
    found = read("cifar10", tmp_path, "test")
    image = all_of(found)[0]
    assert found.labels_n.tolist() == [7]
    assert image[0, 1].tolist() == [10, 0, 0]
    assert image[2, 0].tolist() == [0, 20, 0]
    assert image[31, 31].tolist() == [0, 0, 30]
    assert image.sum() == 60


def test_cifar100s_binary_record_gives_the_fine_label(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    write_binary(tmp_path / "test.bin", pixels_nhwc, [1] * 6, [0, 10, 20, 30, 40, 99])
    found = read("cifar100", tmp_path, "test")
    assert found.labels_n.tolist() == [0, 10, 20, 30, 40, 99]
    assert (all_of(found) == pixels_nhwc).all()
    assert (found.class_names[0], found.class_names[99]) == ("apple", "worm")
    assert len(set(found.class_names)) == 100


def test_batches_are_joined_in_the_order_of_their_numbers(
    tmp_path: Path, pixels_nhwc: Pixels
) -> None:
    pixels = np.concatenate([pixels_nhwc, 255 - pixels_nhwc])[:11]
    for number in range(1, 12):
        row = slice(number - 1, number)
        write_binary(tmp_path / f"data_batch_{number}.bin", pixels[row], [number % 10])
    found = read("cifar10", tmp_path, "train")
    assert found.labels_n.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert (all_of(found) == pixels).all()


def test_a_gap_between_the_batches_is_named(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    for number in (1, 3):
        write_binary(tmp_path / f"data_batch_{number}.bin", pixels_nhwc, [0] * 6)
    with pytest.raises(DataError, match=r"data_batch_2\.bin' is missing"):
        Cifar("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("kind", "folder", "file"),
    [
        ("cifar10", "cifar-10-batches-bin", "test_batch.bin"),
        ("cifar100", "cifar-100-binary", "test.bin"),
    ],
)
def test_the_parent_of_the_published_folder_will_do(
    tmp_path: Path, pixels_nhwc: Pixels, kind: str, folder: str, file: str
) -> None:
    labels = [[0] * 6] * (1 if kind == "cifar10" else 2)
    write_binary(tmp_path / folder / file, pixels_nhwc, *labels)
    assert (all_of(read(kind, tmp_path, "test")) == pixels_nhwc).all()


def test_both_forms_give_the_same_set(
    tmp_path: Path, pixels_nhwc: Pixels, published: Published
) -> None:
    labels = [3, 1, 4, 1, 5, 9]
    write_binary(tmp_path / "bin" / "test_batch.bin", pixels_nhwc, labels)
    (tmp_path / "py").mkdir()
    tree = {"batch_label": "testing", "labels": labels, "data": rows_of(pixels_nhwc)}
    (tmp_path / "py" / "test_batch").write_bytes(published(tree))
    binary, python = (read("cifar10", tmp_path / form, "test") for form in ("bin", "py"))
    assert binary.sha256 == python.sha256
    assert (all_of(python) == pixels_nhwc).all()


def test_cifar100s_python_form_gives_fine_labels_and_names(
    tmp_path: Path, pixels_nhwc: Pixels, published: Published
) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    tree = {
        "fine_labels": [5, 4, 3, 2, 1, 0],
        "coarse_labels": [0] * 6,
        "data": rows_of(pixels_nhwc),
    }
    names = [f"class {number}" for number in range(100)]
    (folder / "train").write_bytes(published(tree))
    (folder / "meta").write_bytes(published({"fine_label_names": names}))
    found = read("cifar100", tmp_path, "train")
    assert found.labels_n.tolist() == [5, 4, 3, 2, 1, 0]
    assert found.class_names == tuple(names)
    assert Cifar("cifar100", tmp_path).read("test") is None


def test_class_names_beside_the_binary_files_are_used(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    write_binary(tmp_path / "test_batch.bin", pixels_nhwc, [0] * 6)
    assert read("cifar10", tmp_path, "test").class_names[9] == "truck"
    (tmp_path / "batches.meta.txt").write_text("a b c d e\nf g h i lorry\n\n")
    assert read("cifar10", tmp_path, "test").class_names[9] == "lorry"
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"names 2 classes; expected 10"):
        read("cifar10", tmp_path, "test")


def test_a_validation_batch_is_the_validation_set(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    write_binary(tmp_path / "test_batch.bin", pixels_nhwc, [0] * 6)
    assert Cifar("cifar10", tmp_path).read("validation") is None
    write_binary(tmp_path / "validation_batch.bin", pixels_nhwc[:2], [8, 9])
    assert read("cifar10", tmp_path, "validation").labels_n.tolist() == [8, 9]


def test_a_label_beyond_the_classes_is_refused(
    tmp_path: Path, pixels_nhwc: Pixels, published: Published
) -> None:
    write_binary(tmp_path / "test_batch.bin", pixels_nhwc, [0, 1, 10, 3, 4, 5])
    with pytest.raises(DataError, match=r"test_batch.bin': image 2 has label 10; expected 0 to 9"):
        read("cifar10", tmp_path, "test")
    (tmp_path / "py").mkdir()
    tree = {"labels": [0, 1, 2, 3, 4, -5], "data": rows_of(pixels_nhwc)}
    (tmp_path / "py" / "test_batch").write_bytes(published(tree))
    with pytest.raises(DataError, match=r"test_batch': a label is -5; expected 0 to 9"):
        read("cifar10", tmp_path / "py", "test")


@pytest.mark.parametrize("length", [0, 3072, 3074, 3073 * 2 - 1])
def test_a_binary_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "test_batch.bin").write_bytes(bytes(length))
    with pytest.raises(DataError, match=rf"has {length} bytes; expected a multiple of 3073"):
        read("cifar10", tmp_path, "test")


def test_cifar100s_files_are_not_taken_for_cifar10s(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    write_binary(tmp_path / "test.bin", pixels_nhwc, [0] * 6, [0] * 6)
    with pytest.raises(DataError, match=r"holds no cifar10: expected 'test_batch\.bin'"):
        Cifar("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "has no 'data' of uint8"),
        ({"data": np.zeros((6, 10), np.uint8)}, r"'data' is \[6, 10\]; expected \[N, 3072\]"),
        ({"data": np.zeros((0, 3072), np.uint8)}, r"'data' is \[0, 3072\]"),
        ({"labels": None}, "has no list of integers 'labels'"),
        ({"labels": [0, 1]}, "has 6 images, but 2 labels"),
        ({"labels": [0, 1, 2, 3, 4, "five"]}, "has no list of integers 'labels'"),
    ],
)
def test_a_python_batch_without_what_it_needs_is_refused(
    tmp_path: Path, pixels_nhwc: Pixels, published: Published, changes: Any, message: str
) -> None:
    tree = {"labels": [0] * 6, "data": rows_of(pixels_nhwc)} | changes
    kept = {key: value for key, value in tree.items() if value is not None}
    (tmp_path / "test_batch").write_bytes(published(kept))
    with pytest.raises(DataError, match=message):
        read("cifar10", tmp_path, "test")


def test_a_label_beyond_64_bits_is_refused(tmp_path: Path, pixels_nhwc: Pixels) -> None:
    tree = {"labels": [0, 0, 0, 0, 0, 2**70], "data": rows_of(pixels_nhwc)}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(tree, protocol=4))
    with pytest.raises(DataError, match=r"a label is 1180591620717411303424"):
        read("cifar10", tmp_path, "test")


@given(content=st.binary(max_size=64), copies=st.integers(0, 97))
@example(content=bytes(3073), copies=1)
@example(content=b"\xff" * 3073, copies=1)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_binary_noise_is_a_data_error_or_a_set_of_its_length(
    tmp_path: Path, content: bytes, copies: int
) -> None:
    path = tmp_path / "test_batch.bin"
    path.write_bytes(content * copies)
    with contextlib.suppress(DataError):
        assert len(read("cifar10", tmp_path, "test")) * 3073 == path.stat().st_size


@pytest.mark.slow
def test_the_real_cifar10_is_read_whole(real_cifar10: Path) -> None:
    train, validation, test = (
        read("cifar10", real_cifar10, split) for split in ("train", "validation", "test")
    )
    assert np.bincount(train.labels_n).tolist() == [5000] * 10
    assert np.bincount(validation.labels_n).tolist() == [200] * 10
    assert np.bincount(test.labels_n).tolist() == [800] * 10
    assert test.class_names[3] == "cat"
    # The published means and deviations of the training pixels; JPEG moves them by little.
    pixels = all_of(train)
    assert pixels.mean(axis=(0, 1, 2)) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
    assert pixels.std(axis=(0, 1, 2)) / 255 == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-3)
