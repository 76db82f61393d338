"""A stage of training as a step: fit, keep the best weights, write checkpoint and history."""

import contextlib
import shutil
from pathlib import Path
from typing import Literal

from edgekd.core import files, provenance, records, run_folder, specs
from edgekd.distill import trainer
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline.job import Job


def fit_and_save(
    job: Job,
    student: Model,
    teacher: Model | None,
    stage: specs.Stage,
    name: str,
    stands_for: Literal["teacher", "distilled"] = "distilled",
) -> None:
    """Train for one stage and write ``checkpoints/NAME`` with ``training.json``."""
    module, training = trainer.fit(
        student,
        teacher,
        stage,
        job.splits,
        job.recipe.data,
        job.recipe.training,
        folder=_scratch(job, name),
        name=name,
        progress=job.progress,
    )
    if not job.workers.main:
        return
    parents = [model.record.weights_sha256 for model in (student, teacher) if model is not None]
    if name == "teacher":
        parents += student.record.parents  # the file that it was opened from
    top1_percent = student.record.validation_top1_percent
    if training.best_epoch:
        top1_percent = training.epochs[training.best_epoch - 1].validation_top1_percent
    record = student.record.model_copy(
        update={
            "stage": stands_for,
            "provenance": provenance.stamp("torch", seed=job.recipe.training.seed),
            "parents": tuple(parents),
            "data": job.splits.identity(),
            "validation_top1_percent": top1_percent,
        }
    )
    folder = run_folder.checkpoint(job.folder, name)
    checkpoint.save(folder, module, record, student.surgery)
    records.write(training, folder / "training.json")
    scratch = _scratch(job, name)
    shutil.rmtree(scratch, ignore_errors=True)
    with contextlib.suppress(OSError):  # the state of another stage may lie beside it
        scratch.parent.rmdir()


def outputs(job: Job, name: str) -> list[Path]:
    """Return what a stage writes: its checkpoint, and while it runs the state to go on from."""
    return [run_folder.checkpoint(job.folder, name), _scratch(job, name)]


def depends_on(job: Job) -> dict[str, object]:
    """Return what every training step depends on: the images and the arithmetic."""
    return {
        "images": dict(job.splits.identity().sha256),
        "data": job.recipe.data.model_dump(mode="json", exclude={"source"}),
        "training": job.recipe.training.model_dump(mode="json"),
    }


def fingerprint(path: Path | None) -> str | None:
    """Return the hash of a file that may be there; ``None`` if it is not."""
    return files.sha256_of(path) if path is not None and path.is_file() else None


def _scratch(job: Job, name: str) -> Path:
    return job.folder / "unfinished" / name
