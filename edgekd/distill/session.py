"""Make everything that a stage needs before its first step."""

import hashlib
import json
import logging
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgekd.core import specs
from edgekd.core.progress import Progress
from edgekd.data.sources import Splits
from edgekd.distill import cache, demands, hardware, taps
from edgekd.distill.adaptive import Adaptive, Trainable
from edgekd.distill.batches import Batch, Batches
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.lesson import Lesson, Use
from edgekd.distill.method import Outputs
from edgekd.distill.processes import Processes
from edgekd.distill.taps import Tap, Tapped
from edgekd.distill.teacher import Frozen, Online, Source
from edgekd.models import score
from edgekd.models.checkpoint import Model

log = logging.getLogger(__name__)

_LOOK = 2  # images of the dry run
_BACKWARD = 3  # a step costs about as much as so many forward passes


@dataclass(frozen=True)
class Task:
    """What ``fit`` was asked to do."""

    student: Model
    teacher: Model | None
    stage: specs.Stage
    splits: Splits
    data: specs.Data
    training: specs.Training
    folder: Path
    name: str

    def key(self, *parts: object) -> str:
        """Return the SHA-256 of all that the training depends on, and of ``parts``."""
        content = {
            "student": self.student.record.identity(),
            "teacher": None if self.teacher is None else self.teacher.record.identity(),
            "stage": self.stage.model_dump(mode="json"),
            "images": [self.splits.train.sha256, self.splits.validation.sha256],
            "data": self.data.model_dump(mode="json", exclude={"source"}),
            "training": self.training.model_dump(mode="json"),
            "parts": parts,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Session:
    """What the loop works with."""

    task: Task
    processes: Processes
    arithmetic: Arithmetic
    batches: Batches
    lesson: Lesson
    views: int | None  # of a cached teacher; None: every epoch has its own
    watched: str | None  # where gradients are measured; None: at the classifier's input
    notes: tuple[str, ...]
    cache_seconds: float = 0.0
    taught_n: NDArray[np.int64] | None = None  # the teacher's classes of the validation images

    def view(self, epoch: int) -> int:
        """Return which variation of the images an epoch shows, both from 0."""
        return epoch if self.views is None else epoch % self.views


def start(task: Task, processes: Processes, progress: Progress) -> Session:
    """Check what was asked for, and make student, teacher, methods and batches ready.

    Raises:
        UsageError: the stage cannot be trained as it is described.
        DataError: too few images.
        EnvironmentMissingError: a compiler or room on the disk is missing.
        DeviceError: the device is missing.
    """
    uses = demands.methods(task.stage)
    models = {"student": task.student} | ({"teacher": task.teacher} if task.teacher else {})
    demands.check(task.name, task.stage, uses, models, len(task.splits.class_names))
    normalisation = task.student.record.normalisation
    batches = Batches(
        task.splits.train,
        normalisation,
        task.data,
        task.training.seed,
        processes,
        labels=task.stage.labels,
        second_view=demands.second_view(task.name, uses),
    )
    look_nchw = next(batches.in_order(0)).images_nchw[:_LOOK].cpu()
    module = deepcopy(task.student.module).cpu()
    tapped = taps.discover(module, look_nchw)
    module.to(processes.device).to(memory_format=torch.channels_last)
    views = min(task.stage.views, task.stage.epochs) if _is_cached(task, uses) else None
    arithmetic = _arithmetic(task, uses, processes, views)
    notes = [*arithmetic.notes]
    pairs: dict[str, str] = {}
    source: Source | None = None
    seconds = 0.0
    if uses:
        source, pairs, note = _teacher(task, uses, tapped, look_nchw, arithmetic, processes)
        notes.append(note)
        if views is not None:
            key = _cache_key(task, views)
            source = cache.build(task.folder, key, views, batches, source, processes, progress)
            seconds = source.seconds
    if source is not None:
        _prepare(task, uses, module, pairs, source, next(batches.in_order(0)))
    classifier = score.classifier(module, task.student.record.classes)
    lesson = Lesson(
        module, classifier, task.stage, list(pairs), uses, source, arithmetic, processes
    )
    watched = tapped[-1].path if tapped else None
    for note in notes:
        log.info("%s: %s", task.name, note)
    return Session(
        task,
        processes,
        arithmetic,
        batches,
        lesson,
        views,
        watched,
        tuple(notes),
        seconds,
        None if task.stage.labels else _taught(task, arithmetic),
    )


def _is_cached(task: Task, uses: list[Use]) -> bool:
    return bool(uses) and task.stage.teacher == "cached" and task.stage.epochs > 0


def _arithmetic(task: Task, uses: list[Use], processes: Processes, views: int | None) -> Arithmetic:
    """Estimate the work, which decides whether compiling pays."""
    stage, student = task.stage, task.student
    passes = 1 if stage.trainable == "classifier" else _BACKWARD
    macs = float(stage.epochs * passes * student.record.macs)
    layers = _layers(student.module)
    if uses and task.teacher is not None:
        macs += (stage.epochs if views is None else views) * task.teacher.record.macs
        layers += _layers(task.teacher.module)
    macs *= len(task.splits.train) / processes.count
    return hardware.decide(task.training, processes.device, macs, layers)


def _layers(module: nn.Module) -> int:
    return sum(isinstance(part, _ConvNd | nn.Linear) for part in module.modules())


def _taught(task: Task, arithmetic: Arithmetic) -> NDArray[np.int64]:
    """Return the classes of the validation images, as the teacher sees them."""
    assert task.teacher is not None
    logits_nk = score.predict(
        deepcopy(task.teacher.module),
        task.splits.validation,
        task.teacher.record.normalisation,
        device=str(arithmetic.device),
    )
    classes_n: NDArray[np.int64] = logits_nk.argmax(axis=1)
    return classes_n


def _teacher(
    task: Task,
    uses: list[Use],
    tapped: list[Tap],
    look_nchw: Tensor,
    arithmetic: Arithmetic,
    processes: Processes,
) -> tuple[Online, dict[str, str], str]:
    """Return the teacher, path of the student -> path of the teacher, and a note."""
    assert task.teacher is not None
    stage = task.stage
    # At rate 0 nothing is learnt, so it is the frozen teacher to the last bit.
    learns = stage.teacher == "adaptive" and stage.teacher_rate > 0
    teacher: Frozen | Trainable
    if learns:
        teacher, note = Trainable(task.teacher.module), "teacher: adaptive"
    else:
        teacher = Frozen(task.teacher.module, look_nchw)
        note = teacher.note
    student_name, name = task.student.record.model, task.teacher.record.model
    readers = [use for use in uses if use.method.needs_features]
    pairs: dict[str, str] = {}
    if readers and student_name == name:
        pairs = taps.pair_same(tapped, teacher.module, look_nchw)
    elif readers:
        demands.check_alignment(readers, student_name, name)
        pairs = taps.pair_stages(tapped, taps.discover(teacher.module, look_nchw))
    teacher.to(arithmetic.device).to(memory_format=torch.channels_last)
    normalisations = (task.student.record.normalisation, task.teacher.record.normalisation)
    if isinstance(teacher, Trainable):
        classifier = score.classifier(teacher.module, task.teacher.record.classes)
        adaptive = Adaptive(
            teacher, classifier, pairs, normalisations, arithmetic, stage, processes
        )
        return adaptive, pairs, note
    return Online(teacher, pairs, normalisations, arithmetic), pairs, note


def _cache_key(task: Task, views: int) -> str:
    """Return the SHA-256 of all that cached logits depend on."""
    assert task.teacher is not None
    content = [
        task.teacher.record.weights_sha256,
        task.teacher.record.surgery_sha256,
        [model.record.normalisation.model_dump() for model in (task.student, task.teacher)],
        task.splits.train.sha256,
        task.data.augment,
        task.training.seed,
        task.training.amp,
        views,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _prepare(
    task: Task,
    uses: list[Use],
    module: nn.Module,
    pairs: dict[str, str],
    teacher: Source,
    batch: Batch,
) -> None:
    """Show every method a dry run of both networks, and bring it to the device."""
    assert task.teacher is not None
    tapped = Tapped(module, list(pairs))
    with score.evaluating(module), torch.no_grad():
        student = Outputs(*tapped(batch.images_nchw))
    tapped.remove()
    surgery = taps.between(task.teacher.surgery, task.student.surgery, list(pairs))
    said = teacher(batch)
    for use in uses:
        use.method.prepare(student, said, surgery)
        use.method.to(batch.images_nchw.device)
