"""Accuracy and latency of model files: what ``edgekd evaluate`` and ``profile`` do.

An ``.onnx`` file needs no torch; a checkpoint does.
"""

import tempfile
from pathlib import Path

import numpy as np

from edgekd.core import extras, files, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.data import sources
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy
from edgekd.export import metadata
from edgekd.profile import local
from edgekd.profile.local import Subject


def evaluate(
    model: str,
    source: str,
    split: records.Split,
    out: Path | None,
    *,
    options: "ModelOptions",
    progress: Progress,
) -> records.Accuracy:
    """Classify the images of one split with a model file, a checkpoint or a model spec."""


def profile(
    model: Path, against: Path | None, spec: specs.Profile, out: Path, *, progress: Progress
) -> records.Measurement:
    """Measure the latency of one ONNX file, or of two in turns: ``against`` is the reference.

    The images are random: the time that a network of this kind takes does not depend on them.
    """
    paths = [path for path in (against, model) if path is not None]
    for path in paths:
        if path.suffix != ".onnx":
            raise UsageError(
                f"'{path}' is no .onnx file: write one with `edgekd export`, then profile that"
            )
        if not path.is_file():
            raise UsageError(f"there is no file '{path}'")
    shapes = {path: metadata.read(path).input_shape for path in paths}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"'{path}' takes {shape}" for path, shape in shapes.items())
        raise UsageError(f"models that take turns need inputs of one shape, but {found}")
    shape = (spec.batch, *shapes[model])
    images_nchw = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    subjects = [Subject(str(path), path, files.sha256_of(path)) for path in paths]
    return local.measure(subjects, spec, images_nchw, out, progress)
