"""Image packs: one ``.npz`` file with uint8 pixels, labels and class names, for boards and CI.

One set, which counts as the test set:

    images   uint8    [N, H, W, C]   C = 1 (grey) or 3 (RGB), not normalised
    labels   integer  [N]            in [0, K)
    classes  text     [K]

Or several sets: ``train_images``, ``train_labels``, likewise ``validation_`` and ``test_``, and the
one ``classes``. Nothing in it is pickled.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files
from edgekd.core.errors import DataError
from edgekd.core.records import Split
from edgekd.data.images import ImageSet, checked_pixels, image_set

# What reading a damaged archive raises.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


def write_pack(
    path: Path, images: ImageSet | Mapping[Split, ImageSet], class_names: Sequence[str]
) -> None:
    """Write one set, or several by the name of their split.

    Raises:
        EnvironmentMissingError: the disk is full; an old file stays as it was.
    """
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(list(class_names), dtype=np.str_)}
    sets = {"": images} if isinstance(images, ImageSet) else _prefixed(images)
    for prefix, found in sets.items():
        arrays[f"{prefix}images"] = found.batch(np.arange(len(found)))
        arrays[f"{prefix}labels"] = found.labels_n
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        # allow_pickle is not given: numpy 1.26 would store it as an array.
        np.savez(file, **arrays)  # type: ignore[arg-type]


class Pack:
    """The sets of a pack."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError(f"there is no image pack '{path}'")
        self._path = path

    def read(self, split: Split) -> ImageSet | None:
        """Return one set, or None if the pack does not have it.

        Raises:
            DataError: it is no pack, or its arrays do not fit.
        """
        where = f"pack '{self._path}'"
        arrays = _arrays(self._path, split)
        if not arrays:
            return None
        names = arrays["classes"]
        if names.dtype.kind != "U" or names.ndim != 1:
            raise DataError(
                f"{where}: 'classes' is {names.dtype} {list(names.shape)}; expected text [K]"
            )
        pixels = checked_pixels(arrays["images"], where)
        return image_set(pixels, arrays["labels"], names.tolist(), where)


def _prefixed(sets: Mapping[Split, ImageSet]) -> dict[str, ImageSet]:
    return {f"{split}_": found for split, found in sets.items()}


def _arrays(path: Path, split: Split) -> dict[str, NDArray[Any]]:
    """Read images, labels and classes of one set; nothing if the pack does not have it."""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"'{path}' is a single array; expected a pack (.npz)")
        with archive:
            prefix = _prefix(archive.files, split)
            if prefix is None:
                return {}
            names = {"images": f"{prefix}images", "labels": f"{prefix}labels", "classes": "classes"}
            missing = [name for name in names.values() if name not in archive.files]
            if missing:
                raise DataError(
                    f"pack '{path}' has no '{missing[0]}'; it holds: {', '.join(archive.files)}"
                )
            return {part: _array(archive[name]) for part, name in names.items()}
    except _DAMAGE as error:
        raise DataError(f"'{path}' cannot be read as an image pack (.npz): {error}") from error


def _array(value: Any) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):  # numpy returns what is no array as bytes
        raise ValueError("a member is not an array")  # noqa: TRY004  joins numpy's own
    return value


def _prefix(names: Sequence[str], split: Split) -> str | None:
    if f"{split}_images" in names:
        return f"{split}_"
    if split == "test" and not any(name.endswith("_images") for name in names):
        return ""
    return None
