"""Sets of labelled images: 8-bit pixels [N, H, W, C], read by row. Needs numpy alone.

Letters: N images, H rows, W columns, C channels (1 grey, 3 RGB), B images in a batch, K classes.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgekd.core.errors import DataError

Rows = NDArray[np.int64]
T = TypeVar("T")

MEMORY_LIMIT_BYTES = 2 * 2**30  # of decoded pixels; what is larger is decoded anew for each batch
_CHANNELS = (1, 3)
_DIGEST_BYTES = 32


class Pixels(Protocol):
    """Where a set keeps its pixels."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return H, W, C of every image."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the pixels [B, H, W, C] of some rows, as a new array."""
        ...

    def digests(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the SHA-256 [B, 32] of each of some images."""
        ...


class Stored:
    """Pixels in memory.

    Args:
        pixels_nhwc: uint8 [N, H, W, C].
    """

    def __init__(self, pixels_nhwc: NDArray[np.uint8]) -> None:
        self._pixels_nhwc = np.ascontiguousarray(pixels_nhwc)
        self._digests = _Once(len(pixels_nhwc), (_DIGEST_BYTES,))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return H, W, C."""
        _, height, width, channels = self._pixels_nhwc.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self._pixels_nhwc)

    def batch(self, rows: Rows) -> NDArray[np.uint8]:
        """Gather some rows: the hot path of training."""
        return self._pixels_nhwc.take(rows, axis=0)

    def digests(self, rows: Rows) -> NDArray[np.uint8]:
        """Hash shape and pixels of each image."""
        shape = repr(self.shape).encode()

        def digest(row: int) -> bytes:
            hashed = hashlib.sha256(shape)
            hashed.update(self._pixels_nhwc[row].data)
            return hashed.digest()

        return self._digests.get(rows, lambda missing: map(_as_bytes(digest), missing))


class Decoded:
    """Pixels that are made when they are asked for, and kept if all of them fit into memory.

    Args:
        count: number of images.
        shape: H, W, C of every image.
        decode: row -> uint8 [H, W, C]; runs in threads.
        digest: row -> the SHA-256 (32 bytes) of what the image is made from; runs in threads.
    """

    def __init__(
        self,
        count: int,
        shape: tuple[int, int, int],
        decode: Callable[[int], NDArray[np.uint8]],
        digest: Callable[[int], bytes],
    ) -> None:
        self.shape = shape
        self._count = count
        self._decode = decode
        self._digest = digest
        self._digests = _Once(count, (_DIGEST_BYTES,))
        fits = count * int(np.prod(shape)) <= MEMORY_LIMIT_BYTES
        self._kept = _Once(count, shape) if fits else None

    def __len__(self) -> int:
        return self._count

    def batch(self, rows: Rows) -> NDArray[np.uint8]:
        """Decode those of the rows that are not in memory yet."""
        if self._kept is not None:
            return self._kept.get(rows, lambda missing: in_threads(self._decode, missing))
        decoded = list(in_threads(self._decode, rows.tolist()))
        return np.stack(decoded) if decoded else np.empty((0, *self.shape), np.uint8)

    def digests(self, rows: Rows) -> NDArray[np.uint8]:
        """Hash what each image is made from."""
        digest = _as_bytes(self._digest)
        return self._digests.get(rows, lambda missing: in_threads(digest, missing))


class _Once:
    """An array of bytes whose rows are computed once, when they are first asked for."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._values = np.empty((count, *shape), np.uint8)  # pages cost nothing until written
        self._known_n = np.zeros(count, np.bool_)

    def get(
        self, rows: Rows, compute: Callable[[list[int]], Iterable[NDArray[np.uint8]]]
    ) -> NDArray[np.uint8]:
        """Return some rows, computing the missing ones."""
        missing = np.unique(rows[~self._known_n[rows]])
        for row, value in zip(missing.tolist(), compute(missing.tolist()), strict=True):
            self._values[row] = value
            self._known_n[row] = True
        return self._values.take(rows, axis=0)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, in a fixed order; a choice of rows of what ``pixels`` holds."""

    pixels: Pixels
    rows: Rows  # [N]
    labels_n: NDArray[np.int64]  # in [0, K)
    class_names: tuple[str, ...]  # K of them

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return H, W, C."""
        return self.pixels.shape

    def batch(self, indices: Rows) -> NDArray[np.uint8]:
        """Return the pixels [B, H, W, C] of some images.

        Raises:
            DataError: an image file cannot be read or is damaged.
        """
        return self.pixels.batch(self.rows[indices])

    def take(self, indices: Rows) -> "ImageSet":
        """Return the set of some of the images; the pixels are shared."""
        return ImageSet(self.pixels, self.rows[indices], self.labels_n[indices], self.class_names)

    @cached_property
    def digests_n(self) -> NDArray[np.uint8]:
        """The SHA-256 [N, 32] of each image: of its pixels, or of its file's bytes."""
        return self.pixels.digests(self.rows)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 over all labels and images, in their order, in hexadecimal."""
        hashed = hashlib.sha256(self.labels_n.astype("<i8").tobytes())
        hashed.update(self.digests_n.tobytes())
        return hashed.hexdigest()


def image_set(
    pixels: Pixels, labels: ArrayLike, class_names: Iterable[str], where: str
) -> ImageSet:
    """Make a set of all images of ``pixels``.

    Args:
        pixels: N images.
        labels: N integers in [0, K).
        class_names: K of them, two or more.
        where: what the images were read from, for messages.

    Raises:
        DataError: no images, or labels that do not fit.
    """
    names = tuple(class_names)
    found = np.asarray(labels)
    if not len(pixels):
        raise DataError(f"{where} holds no images")
    if len(names) < 2:  # noqa: PLR2004  a choice
        raise DataError(f"{where} has too few classes ({len(names)}); expected two or more")
    if found.shape != (len(pixels),) or found.dtype.kind not in "iu":
        raise DataError(
            f"{where}: the labels are {found.dtype} {list(found.shape)}; expected one integer for "
            f"each of the {len(pixels)} images"
        )
    outside = np.flatnonzero((found < 0) | (found >= len(names)))
    if len(outside):
        raise DataError(
            f"{where}: image {outside[0]} has label {found[outside[0]]}; expected 0 to "
            f"{len(names) - 1}, for {len(names)} classes"
        )
    labels_n = found.astype(np.int64)
    labels_n.setflags(write=False)
    return ImageSet(pixels, np.arange(len(pixels)), labels_n, names)


def checked_pixels(pixels: NDArray[Any], where: str) -> Stored:
    """Take an array as images.

    Raises:
        DataError: it is not uint8 [N, H, W, C] with 1 or 3 channels.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in _CHANNELS:  # noqa: PLR2004
        raise DataError(
            f"{where}: the images are {pixels.dtype} {list(pixels.shape)}; expected uint8 "
            "[N, H, W, C] with 1 or 3 channels. Do not normalise them: the model does"
        )
    if 0 in pixels.shape[1:]:
        raise DataError(f"{where}: the images have no pixels: {list(pixels.shape)}")
    return Stored(pixels)


def overlap(one: ImageSet, other: ImageSet) -> int:
    """Count the images of ``one`` that occur in ``other``, byte by byte; labels do not matter."""
    theirs = {digest.tobytes() for digest in other.digests_n}
    return sum(digest.tobytes() in theirs for digest in one.digests_n)


def in_threads(function: Callable[[int], T], rows: list[int]) -> Iterable[T]:
    """Call ``function`` for each row, on all cores: decoding and hashing release the lock."""
    workers = min(len(os.sched_getaffinity(0)), len(rows))
    if workers <= 1:
        return map(function, rows)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, rows))


def _as_bytes(digest: Callable[[int], bytes]) -> Callable[[int], NDArray[np.uint8]]:
    return lambda row: np.frombuffer(digest(row), np.uint8)
