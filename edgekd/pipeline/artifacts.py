"""Export: the teacher as the reference and as rivals, the student to every target."""

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records, run_folder, specs
from edgekd.core.errors import UsageError
from edgekd.core.run_folder import REFERENCE
from edgekd.data import augment
from edgekd.data.images import ImageSet
from edgekd.export import golden, write
from edgekd.export.platform import Platform
from edgekd.export.qdq import Ranges
from edgekd.export.target import Target
from edgekd.export.write import Calibration
from edgekd.models.checkpoint import Model
from edgekd.pipeline import plan
from edgekd.pipeline.job import Job
from edgekd.quantize import ranges

log = logging.getLogger(__name__)

PARITY_IMAGES = 64
_BATCH = 32


def export_teacher(job: Job, teacher: Model) -> None:
    """Do the steps that write the teacher: as the reference of all, and as the rivals asked for."""
    _step(job, REFERENCE, teacher, Target.read("onnx-fp32"))
    _export(job, teacher, plan.rivals(job.recipe))


def export_student(job: Job, student: Model) -> None:
    """Do the steps that write the student to every target of the recipe."""
    _export(job, student, plan.students(job.recipe))


def _export(job: Job, model: Model, targets: Mapping[str, Target]) -> None:
    for name, target in targets.items():
        _step(job, name, model, target, platform_of(job.recipe.export, target))


def platform_of(spec: specs.Export, target: Target) -> Platform | None:
    """Return the recipe's platform for a target that is made for TensorRT, None for others.

    Raises:
        UsageError: there is no such platform.
        ExportError: it does not run the target.
    """
    platform = None if spec.platform is None else Platform.read(spec.platform)
    if platform is None or target.runs_on[0] != "tensorrt":
        return None
    platform.shape(target)
    return platform


def export(
    model: Model,
    target: Target,
    spec: specs.Export,
    images: ImageSet | None,
    out: Path,
    *,
    seed: int = 0,
    random: bool = False,
    platform: Platform | None = None,
) -> records.Artifact:
    """Write one artifact; parity and ranges are taken from training images.

    Args:
        model: the checkpoint.
        target: what to write.
        spec: calibrator, and how many images it sees.
        images: the training images; None: ``random``.
        out: folder of the artifact.
        seed: of the images that are drawn.
        random: take random numbers for images; the artifact is stamped as not valid.
        platform: the JetPack that is to run it; None: none in particular.

    Raises:
        UsageError: no images, and random ones were not asked for.
        ExportError: see ``edgekd.export.write``.
    """
    if images is None and not random:
        raise UsageError(
            "parity is checked on real images: name a source with --calibration, or 'random'"
        )
    shown = partial(batches, model, images, spec.calibration_images, seed)
    parity_nchw = np.concatenate(list(batches(model, images, PARITY_IMAGES, seed)))

    def find(path: Path, tensors: list[str]) -> Ranges:
        return ranges.calibrate(path, tensors, shown(), spec.calibrator)

    count = spec.calibration_images if images is None else min(len(images), spec.calibration_images)
    kind = "training" if images is not None else "RANDOM"
    calibration = Calibration(
        find, f"{spec.calibrator} on {count} {kind} images", valid=images is not None
    )
    artifact = write.export(
        model,
        target,
        out,
        parity_nchw=parity_nchw,
        platform=platform,
        calibration=calibration,
        golden_nhwc=None if images is None else images.batch(rows(images, golden.PAIRS, seed)),
    )
    if artifact.notes:
        log.info("%s: %s", target.name, "; ".join(artifact.notes))
    if artifact.parity.state == "failed":
        log.warning(
            "%s: parity failed: its logits differ by up to %.2g standard deviations from the "
            "checkpoint's; `edgekd evaluate`, or the ladder of a run, shows what that costs",
            target.name, artifact.parity.relative_error,
        )  # fmt: skip
    elif artifact.parity.state == "inconclusive":
        log.warning(
            "%s: parity inconclusive: the checkpoint says nearly the same of every image, so any "
            "file would agree with it: is it trained, and are these its images?",
            target.name,
        )
    return artifact


def batches(
    model: Model, images: ImageSet | None, count: int, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield ``count`` prepared images, without augmentation, always the same ones."""
    if images is None:
        yield from ranges.random_batches(model.record.input_shape, count, seed)
        return
    chosen = rows(images, count, seed)
    for first in range(0, len(chosen), _BATCH):
        pixels = images.batch(np.sort(chosen[first : first + _BATCH]))
        prepared_nchw = augment.normalise(pixels, model.record.normalisation, "cpu")
        yield prepared_nchw.numpy()


def rows(images: ImageSet, count: int, seed: int) -> NDArray[np.int64]:
    """Draw ``count`` images, or all if there are fewer; the first ones are those of fewer."""
    return np.random.default_rng(seed).permutation(len(images))[:count]


def _step(
    job: Job, subject: str, model: Model, target: Target, platform: Platform | None = None
) -> None:
    folder = run_folder.artifact(job.folder, subject)
    depends = {
        "model": model.record.identity(),
        "target": target.model_dump(mode="json"),
        "platform": platform and platform.model_dump(mode="json"),
        "export": job.recipe.export.model_dump(
            mode="json", exclude={"targets", "platform", "rivals"}
        ),
        "images": job.splits.train.sha256,
    }
    work = partial(
        export, model, target, job.recipe.export, job.splits.train, folder, platform=platform
    )
    job.do(f"export {subject}", [folder], depends, work)
