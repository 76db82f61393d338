"""Stages of training as steps: fit, keep the best weights, write checkpoint and history."""

import logging
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Literal

from edgekd.core import files, provenance, records, run_folder, specs
from edgekd.distill import trainer
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline.job import Job
from edgekd.pipeline.plan import stage_names

log = logging.getLogger(__name__)


def run_stages(job: Job, student: Model, teacher: Model) -> Model:
    """Do every stage of the recipe, one after the other, and return the last one's student."""
    for name, stage in zip(stage_names(job.recipe.stages), job.recipe.stages, strict=True):
        depends = {
            "stage": stage.model_dump(mode="json"),
            "student": student.record.identity(),
            "teacher": teacher.record.identity(),
            **depends_on(job),
        }
        work = partial(fit_and_save, job, student, teacher, stage, name)
        job.do(name, outputs(job, name), depends, work, together=True)
        student = checkpoint.load(run_folder.checkpoint(job.folder, name))
    if job.workers.main:
        _say_if_outgrown(student.record, teacher.record, len(job.splits.validation))
    return student


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
    best = training.epochs[training.best_epoch - 1] if training.best_epoch else None
    record = student.record.model_copy(
        update={
            "stage": stands_for,
            "provenance": provenance.stamp("torch", seed=job.recipe.training.seed),
            "parents": tuple(parents),
            "data": job.splits.identity(),
            "validation_top1_percent": best.validation_top1_percent
            if best
            else student.record.validation_top1_percent,
        }
    )
    folder = run_folder.checkpoint(job.folder, name)
    checkpoint.save(folder, module, record, student.surgery)
    records.write(training, folder / "training.json")
    shutil.rmtree(_scratch(job, name), ignore_errors=True)


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


def _say_if_outgrown(student: records.Checkpoint, teacher: records.Checkpoint, images: int) -> None:
    """Warn if the student knows more than its teacher: then the teacher held it back."""
    pair = (student.validation_top1_percent, teacher.validation_top1_percent)
    if pair[0] is None or pair[1] is None:
        return
    noise_pp = 300 * math.sqrt(0.25 / images)  # three standard errors at most
    if pair[0] > pair[1] + noise_pp:
        log.warning(
            "the student has outgrown its teacher (%.1f %% against %.1f %% of the validation "
            "images): adapt the teacher to these images first, with [teacher.train]",
            *pair,
        )
