"""CIFAR-10 and CIFAR-100 in both published forms: binary files and python batches.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (layout of both forms).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core.errors import DataError
from edgekd.core.records import Split
from edgekd.data import unpickle
from edgekd.data.images import ImageSet, Stored, image_set

_SIDE = 32
_PIXEL_BYTES = 3 * _SIDE * _SIDE

_TEN = "airplane automobile bird cat deer dog frog horse ship truck"
_HUNDRED = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class _Kind:
    """What tells CIFAR-10 from CIFAR-100."""

    names: tuple[str, ...]
    binary: str  # the published folder of the binary form
    python: str  # and of the python form
    train: str  # name of the training file, or of several that are numbered
    numbered: bool
    test: str
    label_bytes: int  # before the pixels, the fine label last
    label_key: str
    names_file: str  # of the binary form
    meta: str  # of the python form
    names_key: str


_KINDS = {
    "cifar10": _Kind(
        names=tuple(_TEN.split()),
        binary="cifar-10-batches-bin",
        python="cifar-10-batches-py",
        train="data_batch",
        numbered=True,
        test="test_batch",
        label_bytes=1,
        label_key="labels",
        names_file="batches.meta.txt",
        meta="batches.meta",
        names_key="label_names",
    ),
    "cifar100": _Kind(
        names=tuple(_HUNDRED.split()),
        binary="cifar-100-binary",
        python="cifar-100-python",
        train="train",
        numbered=False,
        test="test",
        label_bytes=2,  # the coarse label, then the fine one
        label_key="fine_labels",
        names_file="fine_label_names.txt",
        meta="meta",
        names_key="fine_label_names",
    ),
}


class Cifar:
    """The sets in a folder; ``validation_batch`` beside the others is the validation set.

    Args:
        kind: "cifar10" or "cifar100".
        place: the folder itself, or the one that holds it.
    """

    def __init__(self, kind: str, place: Path) -> None:
        self._kind = _KINDS[kind]
        self._folder, self._suffix = _find(self._kind, place, kind)

    def read(self, split: Split) -> ImageSet | None:
        """Return one set, or None if its files are not there.

        Raises:
            DataError: a file is damaged, or one of several is missing.
        """
        paths = _files(self._kind, self._folder, split, self._suffix)
        if not paths:
            return None
        read = self._read_binary if self._suffix else self._read_python
        parts = [read(path) for path in paths]
        pixels_nhwc = np.concatenate([pixels for pixels, _ in parts])
        labels_n = np.concatenate([labels for _, labels in parts])
        where = f"'{paths[0]}'" if len(paths) == 1 else f"'{self._folder}' ({split})"
        return image_set(Stored(pixels_nhwc), labels_n, self._names(), where)

    def _read_binary(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        content = np.fromfile(path, np.uint8)
        record = self._kind.label_bytes + _PIXEL_BYTES
        if not len(content) or len(content) % record:
            raise DataError(
                f"'{path}' has {len(content)} bytes; expected a multiple of {record}: "
                f"{self._kind.label_bytes} for the label and {_PIXEL_BYTES} for the pixels"
            )
        rows = content.reshape(-1, record)
        labels_n = rows[:, self._kind.label_bytes - 1].astype(np.int64)
        return _pixels(rows[:, self._kind.label_bytes :]), labels_n

    def _read_python(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        found = unpickle.read(path)
        rows = found.get("data")
        labels = found.get(self._kind.label_key)
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2:  # noqa: PLR2004
            raise DataError(f"'{path}' has no 'data' of uint8 [N, {_PIXEL_BYTES}]")
        if rows.shape[1] != _PIXEL_BYTES or not len(rows):
            raise DataError(f"'{path}': 'data' is {list(rows.shape)}; expected [N, {_PIXEL_BYTES}]")
        if not isinstance(labels, list) or not all(type(label) is int for label in labels):
            raise DataError(f"'{path}' has no list of integers '{self._kind.label_key}'")
        if len(labels) != len(rows):
            raise DataError(f"'{path}' has {len(rows)} images, but {len(labels)} labels")
        # Not np.array(labels): a label beyond 64 bits must be told, not wrapped.
        outside = [label for label in labels if not 0 <= label < len(self._kind.names)]
        if outside:
            raise DataError(
                f"'{path}': a label is {outside[0]}; expected 0 to {len(self._kind.names) - 1}"
            )
        return _pixels(rows), np.array(labels, np.int64)

    def _names(self) -> tuple[str, ...]:
        names = self._names_there()
        if len(names) != len(self._kind.names):
            raise DataError(
                f"'{self._folder}' names {len(names)} classes; expected {len(self._kind.names)}"
            )
        return names

    def _names_there(self) -> tuple[str, ...]:
        text, meta = self._folder / self._kind.names_file, self._folder / self._kind.meta
        if self._suffix and text.is_file():
            return tuple(text.read_text(encoding="utf-8").split())
        if not self._suffix and meta.is_file():
            names = unpickle.read(meta).get(self._kind.names_key)
            if not isinstance(names, list):
                raise DataError(f"'{meta}' has no list '{self._kind.names_key}'")
            return tuple(n.decode("utf-8") if isinstance(n, bytes) else str(n) for n in names)
        return self._kind.names


def _pixels(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """[N, 3072], red then green then blue -> [N, 32, 32, 3]."""
    return np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _find(kind: _Kind, place: Path, name: str) -> tuple[Path, str]:
    """Return the folder that holds the files, and their suffix: ".bin", or "" (python form)."""
    for folder in (place, place / kind.binary, place / kind.python):
        for suffix in (".bin", ""):
            if any(_files(kind, folder, split, suffix) for split in ("train", "test")):
                return folder, suffix
    raise DataError(
        f"'{place}' holds no {name}: expected '{kind.test}.bin' (binary form) or '{kind.test}' "
        f"(python form) in it, or in its folder '{kind.binary}' or '{kind.python}'"
    )


def _files(kind: _Kind, folder: Path, split: str, suffix: str) -> list[Path]:
    """Return the files of one set, in the order of their numbers.

    Raises:
        DataError: one of several is missing.
    """
    if split == "train" and kind.numbered:
        form = re.compile(rf"{kind.train}_(\d+){re.escape(suffix)}")
        found = {int(match[1]) for path in folder.glob("*") if (match := form.fullmatch(path.name))}
        wanted = [f"{kind.train}_{number}" for number in range(1, max(found, default=0) + 1)]
    else:
        wanted = [{"train": kind.train, "test": kind.test}.get(split, "validation_batch")]
    paths = [folder / f"{name}{suffix}" for name in wanted]
    missing = [path for path in paths if not path.is_file()]
    if missing and len(paths) > 1:
        raise DataError(f"'{missing[0]}' is missing: there are others of its kind")
    return [] if missing else paths
