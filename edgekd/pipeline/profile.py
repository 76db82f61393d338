"""Latency, accuracy and layers of model files on a device: what ``edgekd profile`` does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.agent import infer
from edgekd.core import files, records, specs, statistics
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.data import sources
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy
from edgekd.export import metadata
from edgekd.export.formats import tensorrt
from edgekd.pipeline import engines
from edgekd.profile import layer_times, local
from edgekd.profile.local import Subject
from edgekd.remote import inventory

_FILES = {"onnxruntime": (".onnx",), "tensorrt": (".onnx", ".plan", ".engine")}


@dataclass(frozen=True)
class Profiled:
    """What was found; of accuracies, the reference's comes first."""

    measurement: records.Measurement
    accuracies: tuple[records.Accuracy, ...] = ()  # on the device; empty: no images were given
    drop_pp: records.Interval | None = None  # of top-1 below the reference's, paired
    layers: tuple[layer_times.Row, ...] = ()  # of the model; empty: not asked for


@dataclass(frozen=True)
class _Model:
    path: Path
    notes: metadata.Metadata  # of the ONNX file


def profile(
    model: Path,
    against: Path | None,
    spec: specs.Profile,
    out: Path,
    *,
    progress: Progress,
    fleet: Path | None = None,
    source: str | None = None,
    layers: bool = False,
) -> Profiled:
    """Measure one model, or two in turns: ``against`` is the reference.

    On a board with TensorRT an ONNX file is built there first; see ``engines``.

    Args:
        model: an ONNX file; for TensorRT an engine, too, with its ONNX file beside it.
        against: likewise; None: nothing.
        spec: how.
        out: the record to write (.json), with the rest beside it; or a folder.
        progress: who is told how far it is.
        fleet: the inventory that has the device; None: the user's own.
        source: of images to measure with, all of whose test images are classified on the device;
            None: random ones, on which such networks take as long, and no accuracy.
        layers: time the model's layers, too, in a run of their own.

    Raises:
        UsageError: the models do not fit the device, each other or the images.
        EnvironmentMissingError: ``out`` cannot be written.
    """
    place = inventory.usable(spec.device, fleet)
    models = [_opened(path, place, spec) for path in (against, model) if path is not None]
    images = None if source is None else _images(source, models)
    images_nchw = _batch(images, models, spec)
    files.check_place(local.files_of(out)[0])  # not after the whole measurement
    subjects = [
        prepared(str(found.path), found.path, files.sha256_of(found.path), place, spec, progress)
        for found in models
    ]
    measurement = local.measure(subjects, spec, images_nchw, out, progress, fleet)
    ran = [one.reported(timing) for one, timing in zip(subjects, measurement.timings, strict=True)]
    rows = (
        layer_times.measure(ran[-1], images_nchw, place, spec.threads, _beside(out, "layers.json"))
        if layers
        else ()
    )
    if images is None:
        return Profiled(measurement, layers=rows)
    names = ["accuracy.json"] if against is None else ["accuracy-reference.json", "accuracy.json"]
    paths = [_beside(out, name) for name in names]
    accuracies = [
        _classify(one, file, found, images, spec, path, progress, fleet)
        for one, file, found, path in zip(subjects, ran, models, paths, strict=True)
    ]
    drop = None if against is None else _drop(*paths)
    return Profiled(measurement, tuple(accuracies), drop, rows)


def prepared(
    name: str,
    path: Path,
    sha256: str,
    place: inventory.Place,
    spec: specs.Profile,
    progress: Progress,
) -> Subject:
    """Return a model as it is measured at a place; where TensorRT runs, its engines are built.

    Args:
        name: in records and tables.
        path: an ONNX file, or an engine.
        sha256: of that file.
        place: where it runs.
        spec: batch, and how many engines.
        progress: who is told how far it is.
    """
    builds = place.device.engine == "tensorrt" and path.suffix == ".onnx"
    plans = engines.built(path, place, spec.batch, spec.builds, progress) if builds else ()
    return Subject(name, path, sha256, plans)


def _opened(path: Path, place: inventory.Place, spec: specs.Profile) -> _Model:
    """Read what a file says of itself, before anything is built or run."""
    engine = place.device.engine
    if path.suffix not in _FILES[engine]:
        known = " or ".join(_FILES[engine])
        raise UsageError(
            f"'{path}' is nothing for '{spec.device}', where {engine} runs {known} files: write "
            "one with `edgekd export`, then profile that"
        )
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'")
    if spec.builds > 1 and (engine != "tensorrt" or path.suffix != ".onnx"):
        raise UsageError(
            f"'{path}' is not built on '{spec.device}', so there is one of it: --builds is for "
            "ONNX files on a board with TensorRT"
        )
    found = metadata.read(path if path.suffix == ".onnx" else tensorrt.origin(path))
    if found.batch not in (None, spec.batch):
        raise UsageError(
            f"'{path}' takes {found.batch} images at a time, but --batch is {spec.batch}"
        )
    return _Model(path, found)


def _images(source: str, models: list[_Model]) -> ImageSet:
    """Read the test images, in the models' size."""
    for found in models:
        if found.notes.normalisation is None:
            raise UsageError(
                f"'{found.path}' does not say how its images are to be normalised, so --data is "
                "nothing for it: leave it out"
            )
    size = models[0].notes.input_shape[1] if source.startswith("folder:") else None
    return sources.load_images(source, "test", size)


def _batch(
    images: ImageSet | None, models: list[_Model], spec: specs.Profile
) -> NDArray[np.float32]:
    """Return what the models are timed with, float32 [B, C, H, W]."""
    shapes = {found.path: found.notes.input_shape for found in models}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"'{path}' takes {shape}" for path, shape in shapes.items())
        raise UsageError(f"models that take turns need inputs of one shape, but {told}")
    shape = models[0].notes.input_shape
    normalisation = models[0].notes.normalisation
    if images is None or normalisation is None:
        return np.random.default_rng(0).standard_normal((spec.batch, *shape), dtype=np.float32)
    pixels_nhwc = images.batch(np.arange(spec.batch) % len(images))
    found = np.asarray(infer.normalise(pixels_nhwc, normalisation.mean, normalisation.std))
    if found.shape[1:] != shape:
        raise UsageError(
            f"'{models[0].path}' takes images of shape {shape} (C, H, W), but those of --data have "
            f"{found.shape[1:]}"
        )
    return found


def _classify(
    one: Subject,
    file: Path,
    found: _Model,
    images: ImageSet,
    spec: specs.Profile,
    out: Path,
    progress: Progress,
    fleet: Path | None,
) -> records.Accuracy:
    normalisation = found.notes.normalisation
    assert normalisation is not None, "checked where the images were read"
    logits_nk = accuracy.logits_of(
        file,
        images,
        normalisation,
        name=one.name,
        device=spec.device,
        fleet=fleet,
        progress=progress,
    )
    return accuracy.record(one.name, one.sha256, spec.device, "test", images, logits_nk, out)


def _drop(reference: Path, subject: Path) -> records.Interval:
    """Return how far top-1 lies below the reference's, in percentage points."""
    labels_n, reference_n, subject_n = accuracy.paired(reference, subject)
    first, second = reference_n == labels_n, subject_n == labels_n
    lost, gained = int((first & ~second).sum()), int((second & ~first).sum())
    ratio = statistics.paired_difference(lost, gained, len(labels_n))
    ends = {key: 100 * getattr(ratio, key) for key in ("value", "low", "high")}
    return records.Interval(**ends, confidence=ratio.confidence)


def _beside(out: Path, name: str) -> Path:
    """Return where a further file goes: in the folder, or beside the record, named after it."""
    return out.with_name(f"{out.stem}.{name}") if out.suffix == ".json" else out / name
