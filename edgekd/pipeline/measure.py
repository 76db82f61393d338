"""Accuracy of model files: what ``edgekd evaluate`` does.

An ``.onnx`` file needs no torch; a checkpoint does.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import extras, files, records
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.data import sources
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy
from edgekd.export import metadata
from edgekd.export.formats import tensorrt
from edgekd.remote import inventory

HERE = "host-cpu"
_FILES = {"onnxruntime": (".onnx",), "tensorrt": (".plan", ".engine")}  # what an engine takes


@dataclass(frozen=True)
class Options:
    """What the command line says of a model besides its name."""

    weights: Path | None = None
    classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None
    device: str = HERE  # for .onnx files
    fleet: Path | None = None  # the inventory that has the device; None: the user's own


def evaluate(
    model: str,
    source: str,
    split: records.Split,
    out: Path | None,
    *,
    options: Options,
    progress: Progress,
) -> records.Accuracy:
    """Classify the images of one split with an ``.onnx`` file, an engine, or a checkpoint.

    Args:
        model: its path, or a model spec. Beside a ``.plan`` lies the ONNX file that it was built
            from, which says how images are prepared.
        source: of the images.
        split: which of them.
        out: the record to write (.json), its predictions beside it; None: nothing is kept.
        options: how to open the model.
        progress: who listens.
    """
    if out is not None and out.suffix != ".json":
        raise UsageError(f"a record's name must end in .json, but --out is '{out}'")
    is_file = Path(model).suffix in {suffix for known in _FILES.values() for suffix in known}
    find = _infer if is_file else _predict
    sha256, images, logits_nk = find(model, source, split, options, progress)
    with tempfile.TemporaryDirectory() as scratch:
        path = out or Path(scratch) / "accuracy.json"
        return accuracy.record(
            Path(model).name, sha256, options.device, split, images, logits_nk, path
        )


Outcome = tuple[str, ImageSet, NDArray[np.float32]]  # SHA-256 of the model, images, logits


def _infer(
    model: str, source: str, split: records.Split, options: Options, progress: Progress
) -> Outcome:
    path = Path(model)
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'")
    _must_run(path, options)
    interface = metadata.read(path if path.suffix == ".onnx" else tensorrt.origin(path))
    normalisation = interface.normalisation
    if (options.mean is None) != (options.std is None):
        raise UsageError("--mean and --std go together")
    if options.mean is not None and options.std is not None:
        normalisation = records.Normalisation(mean=options.mean, std=options.std)
    if normalisation is None:
        raise UsageError(
            f"'{path}' does not say how its images are to be normalised: give --mean and --std"
        )
    images = sources.load_images(source, split, options.image_size or _size(source, interface))
    logits_nk = accuracy.logits_of(
        path, images, normalisation, device=options.device, fleet=options.fleet, progress=progress
    )
    return files.sha256_of(path), images, logits_nk


def _must_run(path: Path, options: Options) -> None:
    """Refuse a file that is not for the device's engine."""
    place = inventory.usable(options.device, options.fleet)
    engine = place.device.engine
    if path.suffix in _FILES[engine]:
        return
    if engine == "tensorrt":
        way = f"`edgekd export --device {options.device}` builds one"
    else:
        way = "name the board that built it with --device"
    raise UsageError(
        f"'{path}' is nothing for '{options.device}', where {engine} runs "
        f"{_FILES[engine][0]} files: {way}"
    )


def _size(source: str, interface: metadata.Metadata) -> int | None:
    """Fit pictures from a folder to the model; other images have the size that they have."""
    return interface.input_shape[1] if source.startswith("folder:") else None


def _predict(
    model: str, source: str, split: records.Split, options: Options, progress: Progress
) -> Outcome:
    if options.device != HERE:
        raise UsageError(
            f"'{model}' runs on this machine only: `edgekd export` it, then evaluate the .onnx "
            f"file on '{options.device}'"
        )
    extras.require("torch", "train", "to evaluate a checkpoint; an .onnx file needs none")
    from edgekd.models import checkpoint, score  # torch: only here

    size = options.image_size
    if size is None and source.startswith("folder:"):
        size = checkpoint.stored_size(model)
    images = sources.load_images(source, split, size)
    height, width, channels = images.shape
    opened = checkpoint.open_model(
        model,
        weights=options.weights,
        classes=options.classes,
        class_names=images.class_names if options.classes is None else None,
        mean=options.mean,
        std=options.std,
        input_shape=(channels, height, width),
    )
    record = opened.record
    logits_nk = score.predict(opened.module, images, record.normalisation, progress=progress)
    return record.weights_sha256, images, logits_nk
