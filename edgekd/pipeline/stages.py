"""The stages of a recipe, one after the other: cut, if a stage says so, then teach."""

import logging
import math
from collections.abc import Mapping
from functools import partial
from typing import Literal

from edgekd.core import records, run_folder, specs
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline import student as students
from edgekd.pipeline import train
from edgekd.pipeline.job import Job

log = logging.getLogger(__name__)


def run(
    job: Job, stages: Mapping[str, specs.Stage], student: Model, teacher: Model | None
) -> Model:
    """Do every stage, and return the last student.

    Args:
        job: the run.
        stages: by their names; each goes on where the one before has stopped.
        student: where the first one starts.
        teacher: where a stage that teaches the teacher starts; None: no stage has methods.

    Raises:
        UsageError: a stage's cut cannot be made; nothing is trained then.
    """
    first = teacher
    students.rehearse(student, [stage.prune for stage in stages.values() if stage.prune])
    for name, stage in stages.items():
        if stage.prune is not None:
            student = students.cut(job, student, stage.prune, f"{name}-")
        if stage.learner == "student":
            student = _do(job, name, stage, student, teacher, "distilled")
        else:
            assert teacher is not None
            teacher = _do(job, name, stage, teacher, student, "teacher")
    if first is not None and job.workers.main:
        _say_if_outgrown(student.record, first.record, len(job.splits.validation))
    return student


def _do(
    job: Job,
    name: str,
    stage: specs.Stage,
    learner: Model,
    peer: Model | None,
    stands_for: Literal["teacher", "distilled"],
) -> Model:
    """Teach one network by the other."""
    depends = {
        "stage": stage.model_dump(mode="json"),
        "student": learner.record.identity(),
        "teacher": None if peer is None else peer.record.identity(),
        **train.depends_on(job),
    }
    work = partial(train.fit_and_save, job, learner, peer, stage, name, stands_for)
    job.do(name, train.outputs(job, name), depends, work, together=True)
    return checkpoint.load(run_folder.checkpoint(job.folder, name))


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
