import hashlib
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.core.errors import DataError
from edgekd.data import images as module
from edgekd.data.images import (
    Decoded,
    ImageSet,
    Stored,
    checked_pixels,
    image_set,
    in_threads,
    overlap,
)

Pixels = NDArray[np.uint8]


class Counting:
    """Decode and hash, and remember which rows were asked for."""

    def __init__(self, pixels_nhwc: Pixels) -> None:
        self.pixels_nhwc = pixels_nhwc
        self.decoded: list[int] = []
        self.hashed: list[int] = []

    def decode(self, row: int) -> Pixels:
        self.decoded.append(row)
        return self.pixels_nhwc[row]

    def digest(self, row: int) -> bytes:
        self.hashed.append(row)
        return hashlib.sha256(self.pixels_nhwc[row].tobytes()).digest()

    def decoded_set(self) -> Decoded:
        shape = self.pixels_nhwc.shape
        return Decoded(shape[0], shape[1:], self.decode, self.digest)


def test_a_batch_holds_the_images_in_the_order_asked_for(
    images: ImageSet, pixels_nhwc: Pixels
) -> None:
    batch = images.batch(np.array([4, 0, 4]))
    assert batch.dtype == np.uint8
    assert (batch == pixels_nhwc[[4, 0, 4]]).all()


def test_a_batch_is_a_copy_so_that_changing_it_leaves_the_set_alone(
    images: ImageSet, pixels_nhwc: Pixels
) -> None:
    images.batch(np.array([1]))[:] = 0
    assert (images.batch(np.array([1]))[0] == pixels_nhwc[1]).all()


def test_a_subset_of_a_subset_counts_in_the_subset(images: ImageSet, pixels_nhwc: Pixels) -> None:
    subset = images.take(np.array([5, 3, 1])).take(np.array([2, 0]))
    assert subset.labels_n.tolist() == [1, 2]
    assert (subset.batch(np.arange(2)) == pixels_nhwc[[1, 5]]).all()
    assert subset.class_names == images.class_names


def test_sha256_matches_a_value_worked_out_by_hand() -> None:
    pixels = np.array([[[[7]]], [[[9]]]], np.uint8)
    found = image_set(Stored(pixels), [1, 0], ["a", "b"], "these")
    one, two = (hashlib.sha256(b"(1, 1, 1)" + byte).digest() for byte in (b"\x07", b"\x09"))
    labels = bytes([1, *[0] * 7, *[0] * 8])
    assert found.sha256 == hashlib.sha256(labels + one + two).hexdigest()


def test_sha256_changes_with_a_pixel_a_label_and_the_order(
    images: ImageSet, pixels_nhwc: Pixels
) -> None:
    changed = pixels_nhwc.copy()
    changed[3, 0, 0, 0] ^= 1
    others = [
        image_set(Stored(changed), images.labels_n, images.class_names, "these"),
        image_set(Stored(pixels_nhwc), [0, 1, 2, 0, 1, 1], images.class_names, "these"),
        images.take(np.array([1, 0, 2, 3, 4, 5])),
    ]
    assert len({images.sha256, *(other.sha256 for other in others)}) == 4


def test_sha256_of_images_tells_their_shape_apart() -> None:
    flat = np.arange(12, dtype=np.uint8)
    wide = image_set(Stored(flat.reshape(2, 2, 3, 1)), [0, 1], "ab", "these")
    tall = image_set(Stored(flat.reshape(2, 3, 2, 1)), [0, 1], "ab", "these")
    assert wide.sha256 != tall.sha256


def test_sha256_of_a_subset_is_that_of_the_same_images_on_their_own(
    images: ImageSet, pixels_nhwc: Pixels
) -> None:
    alone = image_set(Stored(pixels_nhwc[[4, 2]]), [1, 2], images.class_names, "those")
    assert images.take(np.array([4, 2])).sha256 == alone.sha256


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 0, 1, 3], r"image 5 has label 3; expected 0 to 2, for 3 classes"),
        ([0, -1, 2, 0, 1, 2], r"image 1 has label -1"),
        ([0, 1, 2, 0, 1], r"int64 \[5\]; expected one integer for each of the 6"),
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], r"float64 \[6\]; expected one integer"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    pixels_nhwc: Pixels, labels: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        image_set(Stored(pixels_nhwc), labels, ["ant", "bee", "cow"], "these")


def test_unsigned_labels_are_not_taken_for_small_ones(pixels_nhwc: Pixels) -> None:
    labels = np.array([0, 1, 2, 0, 1, 2**63 + 1], np.uint64)
    with pytest.raises(DataError, match=r"image 5"):
        image_set(Stored(pixels_nhwc), labels, ["ant", "bee", "cow"], "these")


def test_a_set_without_images_or_without_a_choice_of_classes_is_refused(
    pixels_nhwc: Pixels,
) -> None:
    with pytest.raises(DataError, match=r"these holds no images"):
        image_set(Stored(pixels_nhwc[:0]), [], ["ant", "bee"], "these")
    with pytest.raises(DataError, match=r"too few classes \(1\); expected two or more"):
        image_set(Stored(pixels_nhwc), [0] * 6, ["ant"], "these")


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 3, 8, 8), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
    ],
)
def test_an_array_that_is_no_8_bit_nhwc_is_refused(pixels: NDArray[np.generic]) -> None:
    with pytest.raises(DataError, match=r"these: .*expected uint8 \[N, H, W, C\]"):
        checked_pixels(pixels, "these")


def test_images_without_pixels_are_refused() -> None:
    with pytest.raises(DataError, match=r"no pixels"):
        checked_pixels(np.zeros((2, 0, 8, 3), np.uint8), "these")


def test_an_image_is_decoded_once_and_only_when_asked_for(pixels_nhwc: Pixels) -> None:
    counting = Counting(pixels_nhwc)
    decoded = counting.decoded_set()
    first = decoded.batch(np.array([4, 1, 4]))
    second = decoded.batch(np.array([1, 5]))
    assert (first == pixels_nhwc[[4, 1, 4]]).all()
    assert (second == pixels_nhwc[[1, 5]]).all()
    assert sorted(counting.decoded) == [1, 4, 5]


def test_a_set_beyond_the_memory_limit_is_decoded_anew(
    pixels_nhwc: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_LIMIT_BYTES", pixels_nhwc.nbytes - 1)
    counting = Counting(pixels_nhwc)
    decoded = counting.decoded_set()
    assert (decoded.batch(np.array([4, 1])) == pixels_nhwc[[4, 1]]).all()
    assert (decoded.batch(np.array([1])) == pixels_nhwc[[1]]).all()
    assert sorted(counting.decoded) == [1, 1, 4]
    assert decoded.batch(np.array([], np.int64)).shape == (0, 32, 32, 3)


def test_an_image_is_hashed_once_for_all_subsets(pixels_nhwc: Pixels) -> None:
    counting = Counting(pixels_nhwc)
    whole = image_set(counting.decoded_set(), [0, 1] * 3, "ab", "these")
    assert whole.take(np.arange(4)).sha256 != whole.sha256
    assert sorted(counting.hashed) == [0, 1, 2, 3, 4, 5]
    assert not counting.decoded


def test_an_error_while_decoding_leaves_the_set_usable(pixels_nhwc: Pixels) -> None:
    counting = Counting(pixels_nhwc)
    broken = True

    def decode(row: int) -> Pixels:
        if broken and row == 2:
            raise DataError("truncated")
        return counting.decode(row)

    decoded = Decoded(6, (32, 32, 3), decode, counting.digest)
    with pytest.raises(DataError, match=r"truncated"):
        decoded.batch(np.arange(6))
    broken = False
    assert (decoded.batch(np.arange(6)) == pixels_nhwc).all()


def test_overlap_counts_images_that_are_equal_byte_by_byte(
    images: ImageSet, pixels_nhwc: Pixels
) -> None:
    others = np.concatenate([255 - pixels_nhwc[:2], pixels_nhwc[[3, 3]]])
    other = image_set(Stored(others), [0, 1, 1, 1], ["ant", "bee"], "those")
    assert overlap(images, other) == 1
    assert overlap(other, images) == 2


def test_work_in_threads_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: range(4))
    met = threading.Barrier(4, timeout=60)  # passes only if four threads work at once

    def square(row: int) -> int:
        met.wait()
        return row * row

    assert list(in_threads(square, [3, 1, 2, 0])) == [9, 1, 4, 0]
