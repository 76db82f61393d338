"""Two files of one network, layer by layer: what ``edgekd diff`` does.

An ``.onnx`` file needs no torch; a checkpoint folder does, to be exported.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.core import extras
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.core.records import Normalisation
from edgekd.data import sources
from edgekd.data.draw import draw
from edgekd.data.images import ImageSet
from edgekd.evaluate import bisect
from edgekd.evaluate.bisect import Comparison
from edgekd.export import metadata
from edgekd.export.metadata import Metadata


@dataclass(frozen=True)
class Settings:
    """How to compare."""

    images: int = 16
    tolerance: float = 0.05  # relative error
    every: bool = False  # all tensors, not only those on the way to the first that differs
    mean: tuple[float, ...] | None = None  # None: as the files say
    std: tuple[float, ...] | None = None
    image_size: int | None = None
    seed: int = 0  # of the images that are drawn


def diff(
    models: tuple[Path, Path], source: str, settings: Settings, *, progress: Progress | None = None
) -> Comparison:
    """Compare two ``.onnx`` files, or checkpoint folders, on training images.

    Raises:
        UsageError: not two files of one network, or settings that cannot be.
        RecordError: a file cannot be read or run.
        DataError: the images cannot be used.
    """
    if settings.images < 1:
        raise UsageError(f"--images is {settings.images}; expected 1 or more")
    if not 0 <= settings.tolerance < float("inf"):
        raise UsageError(f"--tolerance is {settings.tolerance}; expected a number from 0")
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        files = (
            _file(models[0], source, settings, Path(folder) / "first"),
            _file(models[1], source, settings, Path(folder) / "second"),
        )
        first, second = (metadata.read(file) for file in files)
        if first.input_shape != second.input_shape:
            raise UsageError(
                f"'{models[0]}' takes images of {list(first.input_shape)}, '{models[1]}' of "
                f"{list(second.input_shape)}: name two files of one network"
            )
        return bisect.compare(
            files,
            _images(first, source, settings),
            _normalisation((first, second), models, settings),
            tolerance=settings.tolerance,
            every=settings.every,
            progress=progress,
        )


def _file(model: Path, source: str, settings: Settings, out: Path) -> Path:
    """Return the ONNX file; that of a checkpoint is written first."""
    if model.is_dir():
        extras.require("torch", "train", "to export a checkpoint; an .onnx file needs none")
        from edgekd.pipeline import single  # torch: only here

        single.export(
            single.ModelArguments(str(model), image_size=settings.image_size),
            "onnx-fp32",
            out,
            source=source,
            calibrator="minmax",
            images=1,
            seed=settings.seed,
        )
        return out / "model.onnx"
    if model.suffix != ".onnx":
        raise UsageError(f"'{model}' is no .onnx file and no checkpoint folder: name one of these")
    if not model.is_file():
        raise UsageError(f"there is no file '{model}'")
    return model


def _images(interface: Metadata, source: str, settings: Settings) -> ImageSet:
    channels, height, width = interface.input_shape
    size = settings.image_size or (height if source.startswith("folder:") else None)
    images = sources.load_images(source, "train", size)
    if images.shape != (height, width, channels):
        raise UsageError(
            f"the files take images of {[height, width, channels]} (height, width, channels), but "
            f"'{source}' has {list(images.shape)}: name other images, or --image-size"
        )
    if settings.images >= len(images):
        return images
    return images.take(draw(images.labels_n, settings.images, np.random.default_rng(settings.seed)))


def _normalisation(
    interfaces: tuple[Metadata, Metadata], models: tuple[Path, Path], settings: Settings
) -> Normalisation:
    if (settings.mean is None) != (settings.std is None):
        raise UsageError("--mean and --std go together")
    if settings.mean is not None and settings.std is not None:
        return Normalisation(mean=settings.mean, std=settings.std)
    first, second = (interface.normalisation for interface in interfaces)
    if first is not None and second is not None and first != second:
        raise UsageError(
            f"'{models[0]}' and '{models[1]}' want their images normalised differently: name two "
            "files of one network, or give --mean and --std for both"
        )
    found = first or second
    if found is None:
        raise UsageError(
            f"neither '{models[0]}' nor '{models[1]}' says how its images are to be normalised: "
            "give --mean and --std"
        )
    return found
