"""Where images come from, and which of them are for training, choosing and judging.

Every choice reads training or validation images; the test images are read once, at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.core import specs
from edgekd.core.errors import DataError, UsageError, did_you_mean
from edgekd.core.records import DataIdentity, Split
from edgekd.data.cifar import Cifar
from edgekd.data.digits import Digits
from edgekd.data.draw import draw
from edgekd.data.factory import Factory
from edgekd.data.fit import resized
from edgekd.data.folder import Folder
from edgekd.data.images import ImageSet
from edgekd.data.pack import Pack

__all__ = ["SOURCES", "ImageSet", "Splits", "load", "load_images"]

SOURCES = {
    "digits": "1,797 handwritten digits of 8x8 grey pixels, from scikit-learn",
    "cifar10:DIR": "CIFAR-10, binary or python version; validation_batch.bin if there",
    "cifar100:DIR": "CIFAR-100 with its fine labels, binary or python version",
    "folder:DIR": "train/CLASS/*.jpg, val/CLASS/*.jpg (the test images), validation/ if there",
    "pack:FILE.npz": "uint8 images, labels and class names in one file, for boards and CI",
    "package.module:build": "your own function; returns train, validation and test datasets",
}

_SEED = 0  # of the validation cut, whatever the run's seed is: runs can be compared


class Source(Protocol):
    """A place that holds up to three sets."""

    def read(self, split: Split) -> ImageSet | None:
        """Return one set, or None if there is none."""
        ...


@dataclass(frozen=True)
class Splits:
    """The three sets of a job, with the same classes and the same shape."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    source: str

    def identity(self) -> DataIdentity:
        """Say which images these are; reads all of them."""
        sets: dict[Split, ImageSet] = {
            "train": self.train,
            "validation": self.validation,
            "test": self.test,
        }
        return DataIdentity(
            source=self.source,
            sha256={split: found.sha256 for split, found in sets.items()},
            images={split: len(found) for split, found in sets.items()},
        )


def load(spec: specs.Data, *, seed: int) -> Splits:
    """Open the images of a job.

    Validation images that the source does not bring are cut from the training images, always the
    same ones; ``train_images`` limits what is left.

    Args:
        spec: the recipe's [data].
        seed: draws the ``train_images``.

    Raises:
        UsageError: there is no such source.
        DataError: the images cannot be used, or a set is missing.
    """
    source = _open(spec.source, spec.image_size)
    test = _get(source, "test", spec)
    train, validation = _train_and_validation(source, spec)
    for name, found in (("validation", validation), ("test", test)):
        _check_alike(train, found, name, spec.source)
    if spec.train_images is not None and spec.train_images < len(train):
        classes = len(np.unique(train.labels_n))
        if spec.train_images < classes:
            raise DataError(
                f"data.train_images is {spec.train_images}, but there are {classes} classes; "
                "expected one image of each or more"
            )
        generator = np.random.default_rng(seed)
        train = train.take(draw(train.labels_n, spec.train_images, generator, least=1))
    return Splits(train, validation, test, train.class_names, spec.source)


def load_images(source: str, split: Split, image_size: int | None) -> ImageSet:
    """Open one set: the very images that ``load`` gives with its defaults.

    Raises:
        UsageError: there is no such source.
        DataError: the images cannot be used, or there is no such set.
    """
    spec = specs.Data(source=source, image_size=image_size)
    opened = _open(source, image_size)
    if split == "test":
        return _get(opened, split, spec)
    train, validation = _train_and_validation(opened, spec)
    return train if split == "train" else validation


def _open(source: str, size: int | None) -> Source:
    kind, colon, place = source.partition(":")
    openers: dict[str, Callable[[], Source]] = {
        "cifar10": lambda: Cifar(kind, Path(place)),
        "cifar100": lambda: Cifar(kind, Path(place)),
        "folder": lambda: Folder(Path(place), size),
        "pack": lambda: Pack(Path(place)),
    }
    if source == "digits":
        return Digits()
    if kind in openers and place:
        return openers[kind]()
    if colon and place and kind not in openers and kind != "digits":
        return Factory(source, size)
    forms = {form.partition(":")[0]: form for form in SOURCES}
    if kind in openers:
        raise UsageError(f"'{source}' lacks its place; expected '{forms[kind]}'")
    raise UsageError(f"no source of images is called '{source}'.{did_you_mean(source, SOURCES)}")


def _get(source: Source, split: Split, spec: specs.Data) -> ImageSet:
    found = source.read(split)
    if found is None:
        raise DataError(f"'{spec.source}' has no {split} images{_HINTS.get(split, '')}")
    return resized(found, spec.image_size)


_HINTS: dict[Split, str] = {
    "train": ". It can be evaluated, but not trained on",
    "test": ". A folder keeps them in 'val', CIFAR in 'test_batch' or 'test'",
}


def _train_and_validation(source: Source, spec: specs.Data) -> tuple[ImageSet, ImageSet]:
    given = source.read("validation")
    if given is not None:
        return _get(source, "train", spec), resized(given, spec.image_size)
    train = _get(source, "train", spec)
    count = max(1, round(spec.validation_ratio * len(train)))
    if count >= len(train):
        raise DataError(
            f"'{spec.source}' has {len(train)} training images, of which {count} would be for "
            "validation: none are left. Lower data.validation_ratio"
        )
    cut = draw(train.labels_n, count, np.random.default_rng(_SEED))
    rest = np.setdiff1d(np.arange(len(train)), cut)
    return train.take(rest), train.take(cut)


def _check_alike(train: ImageSet, other: ImageSet, split: str, source: str) -> None:
    if other.class_names != train.class_names:
        raise DataError(
            f"'{source}': the {split} images have the classes {_few(other.class_names)}, the "
            f"training images {_few(train.class_names)}"
        )
    if other.shape != train.shape:
        raise DataError(
            f"'{source}': the {split} images are {list(other.shape)}, the training images "
            f"{list(train.shape)} [H, W, C]: give data.image_size"
        )


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} ... ({len(names)})" if len(names) > 6 else shown  # noqa: PLR2004
