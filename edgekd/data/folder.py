"""Image files in class folders: DIR/train/CLASS/*, DIR/val/CLASS/*, and DIR/validation if there.

``val`` is the test set. Classes are numbered in the order of their names.
"""

import contextlib
import hashlib
import logging
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import extras
from edgekd.core.errors import DataError
from edgekd.core.records import Split
from edgekd.data.fit import DEEP_MODES, fit
from edgekd.data.images import Decoded, ImageSet, image_set

_FAR = 5  # times larger: no network that takes such images was meant
_LOG = logging.getLogger(__name__)
_SIZE = 224
_FOLDERS: dict[Split, str] = {"train": "train", "validation": "validation", "test": "val"}
_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
)  # torchvision's
# What Pillow raises on damaged files, by format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)


class Folder:
    """The sets below a folder.

    Args:
        place: DIR.
        size: pixels, square; None: 224.
    """

    def __init__(self, place: Path, size: int | None) -> None:
        extras.require("PIL", "train", "to read image files")
        if not place.is_dir():
            raise DataError(f"there is no folder '{place}'")
        self._place = place
        self._size = _SIZE if size is None else size
        self._looked = False  # at the first image, whose size stands for all
        self._check()

    def read(self, split: Split) -> ImageSet | None:
        """List one set's files, or return None if its folder is not there.

        Raises:
            DataError: a class folder without images.
        """
        top = self._place / _FOLDERS[split]
        if not top.is_dir():
            return None
        classes = _classes(top)
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = _images(top / name)
            paths += found
            labels += [label] * len(found)

        if not self._looked:
            self._looked = True
            _warn_of_enlarging(paths[0], self._size)

        def decode(row: int) -> NDArray[np.uint8]:
            return _decode(paths[row], self._size)

        def digest(row: int) -> bytes:
            return hashlib.sha256(paths[row].read_bytes()).digest()

        pixels = Decoded(len(paths), (self._size, self._size, 3), decode, digest)
        return image_set(pixels, np.array(labels, np.int64), classes, f"'{top}'")

    def _check(self) -> None:
        """Check that there is a set, and that all have the same classes."""
        there = [name for name in _FOLDERS.values() if (self._place / name).is_dir()]
        if not there:
            below = sorted(path.name for path in self._place.iterdir() if path.is_dir())
            raise DataError(
                f"'{self._place}' has no folder 'train' or 'val'; expected train/CLASS/*.jpg and "
                f"val/CLASS/*.jpg (the test images). It has: {', '.join(below[:8]) or 'no folders'}"
            )
        first = _classes(self._place / there[0])
        for name in there[1:]:
            other = _classes(self._place / name)
            only = sorted(set(first) ^ set(other))
            if only:
                where = there[0] if only[0] in first else name
                raise DataError(
                    f"'{self._place / there[0]}' and '{self._place / name}' differ in their class "
                    f"folders, {len(only)} in all: '{only[0]}' is only in '{where}'"
                )


def _classes(top: Path) -> list[str]:
    found = sorted(path.name for path in top.iterdir() if path.is_dir() and path.name[0] != ".")
    if not found:
        raise DataError(f"'{top}' has no class folders; expected CLASS/*.jpg in it")
    return found


def _images(folder: Path) -> list[Path]:
    """List the image files below a class folder, hidden ones aside, in order."""
    found: list[Path] = []
    others: list[Path] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            if name[0] != ".":
                kind = found if Path(name).suffix.lower() in _SUFFIXES else others
                kind.append(Path(parent, name))
    if not found:
        raise DataError(
            f"class folder '{folder}' has no images; expected {', '.join(sorted(_SUFFIXES))}"
        )
    if others:
        _LOG.warning("'%s': not images (%d), as '%s'", folder, len(others), min(others).name)
    return sorted(found)


def _warn_of_enlarging(path: Path, size: int) -> None:
    """Say that thumbnails are blown up, which costs time and brings nothing."""
    from PIL import Image

    with contextlib.suppress(*_DAMAGE, Image.DecompressionBombError), Image.open(path) as image:
        if _FAR * max(image.size) <= size:
            _LOG.warning(
                "'%s' has %d x %d pixels and is enlarged to %d x %d, which costs %d times as much: "
                "see data.image_size, or --image-size",
                path, *image.size, size, size, size**2 // (image.width * image.height),
            )  # fmt: skip


def _decode(path: Path, size: int) -> NDArray[np.uint8]:
    """Read one file as RGB [size, size, 3]."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(DEEP_MODES):
                raise DataError(
                    f"'{path}' has more than 8 bits for a pixel (mode {image.mode}): convert it"
                )
            return fit(image.convert("RGB"), size)
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"'{path}' cannot be read as an image: {error}") from error
