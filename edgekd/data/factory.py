"""Your own images: package.module:build, where build() returns map-style datasets.

It returns train, validation and test, or train and test. Each has ``len`` and gives (image, label)
for a number: the image a PIL image, uint8 [H, W] or [H, W, C], or a uint8 tensor [C, H, W]; no
normalisation and no random variation. Classes are called like ``train.classes``, if it has them.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import user_code
from edgekd.core.errors import DataError, UsageError
from edgekd.core.records import Split
from edgekd.data.fit import DEEP_MODES, as_image, fit
from edgekd.data.images import MEMORY_LIMIT_BYTES, ImageSet, checked_pixels, image_set

_SPLITS: dict[int, tuple[Split, ...]] = {2: ("train", "test"), 3: ("train", "validation", "test")}
_AXES = 3  # H, W, C


class Factory:
    """What ``build`` returned, read into memory.

    Args:
        name: "package.module:build"; looked for in the working directory too.
        size: pixels, square, to which PIL images and arrays are brought; None: as they are.

    Raises:
        UsageError: there is no such function, or it returns something else.
    """

    def __init__(self, name: str, size: int | None) -> None:
        self._name = name
        self._size = size
        with user_code.working_directory():  # for the call as well: it may import more of its own
            built = user_code.find(name, "package.module:build")()
        if not isinstance(built, Sequence) or len(built) not in _SPLITS:
            raise UsageError(
                f"'{name}' returned a {type(built).__name__}; expected datasets: "
                "(train, validation, test) or (train, test)"
            )
        self._read: dict[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self._datasets: dict[Split, Any] = dict(zip(_SPLITS[len(built)], built, strict=True))

    def read(self, split: Split) -> ImageSet | None:
        """Read one set into memory, or return None if there is none.

        Raises:
            DataError: an image or a label that cannot be used.
        """
        if split not in self._datasets:
            return None
        where = f"'{self._name}' ({split})"
        images_nhwc, labels_n = self._arrays(split)
        return image_set(checked_pixels(images_nhwc, where), labels_n, self._class_names(), where)

    def _class_names(self) -> tuple[str, ...]:
        """Return what the datasets call the classes, else the numbers up to the largest label."""
        for dataset in self._datasets.values():
            if names := getattr(dataset, "classes", None):
                return tuple(str(name) for name in names)
        largest = max(int(self._arrays(split)[1].max()) for split in self._datasets)
        return tuple(str(label) for label in range(largest + 1))

    def _arrays(self, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read each set once: a dataset that varies its images must not change between uses."""
        if split not in self._read:
            where = f"'{self._name}' ({split})"
            self._read[split] = _arrays(self._datasets[split], self._size, where)
        return self._read[split]


def _arrays(
    dataset: Any, size: int | None, where: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    count = len(dataset)
    if not count:
        raise DataError(f"{where} holds no images")
    labels_n = np.empty(count, np.int64)
    images_nhwc = np.empty((0, 0, 0, 0), np.uint8)
    for row in range(count):
        image, label = _pair(dataset, row, where)
        pixels = _pixels(image, size, f"{where}: image {row}")
        if row == 0:
            images_nhwc = _empty(count, pixels, where)
        if pixels.shape != images_nhwc.shape[1:]:
            raise DataError(
                f"{where}: image {row} is {list(pixels.shape)}, but image 0 is "
                f"{list(images_nhwc.shape[1:])}: give data.image_size"
            )
        images_nhwc[row], labels_n[row] = pixels, label
    return images_nhwc, labels_n


def _pair(dataset: Any, row: int, where: str) -> tuple[Any, int]:
    try:
        image, label = dataset[row]
        return image, operator.index(label)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: item {row} is not (image, label) with an integer label: {error}"
        ) from error


def _empty(count: int, pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    if pixels.nbytes * count > MEMORY_LIMIT_BYTES:
        raise DataError(
            f"{where}: {count} images of {pixels.nbytes} bytes do not fit into "
            f"{MEMORY_LIMIT_BYTES // 2**20} MiB: write them to class folders, for 'folder:DIR'"
        )
    return np.empty((count, *pixels.shape), np.uint8)


def _pixels(image: Any, size: int | None, where: str) -> NDArray[np.uint8]:
    """Take an image as uint8 [H, W, C]."""
    pixels = np.asarray(_plain(image))
    if type(image).__module__.partition(".")[0] == "torch" and pixels.ndim == _AXES:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == _AXES - 1:
        pixels = pixels[:, :, np.newaxis]
    if pixels.dtype != np.uint8 or pixels.ndim != _AXES:
        raise DataError(
            f"{where} is {type(image).__name__} of {pixels.dtype} {list(pixels.shape)}; expected "
            "8-bit pixels. Return them before they are scaled: normalisation is the model's"
        )
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    return fit(as_image(pixels), size)


def _plain(image: Any) -> Any:
    """Bring PIL images with a palette or transparency to RGB; deep ones are refused later."""
    is_pil = type(image).__module__.startswith("PIL.")
    as_it_is = not is_pil or image.mode in {"L", "RGB"} or image.mode.startswith(DEEP_MODES)
    return image if as_it_is else image.convert("RGB")
