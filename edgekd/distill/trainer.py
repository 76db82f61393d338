"""Train a student for one stage: the loop.

What an epoch does depends on the weights it begins with, the seed and its number alone, so a stage
that was interrupted goes on from its last whole epoch as if nothing had happened.
"""

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.core import provenance, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent, Task
from edgekd.data.sources import Splits
from edgekd.distill import balance, drift, hardware, optim, session, watch
from edgekd.distill.adaptive import Adaptive
from edgekd.distill.history import History
from edgekd.distill.method import Step
from edgekd.distill.processes import Processes
from edgekd.distill.session import Session
from edgekd.models import score
from edgekd.models.checkpoint import Model

_DRAWS = 2  # sets these random numbers apart from others of the same seed
_LOOK_EVERY = {"cpu": 1, "cuda": 25}  # steps; to read a loss from a GPU is to wait for it


def fit(
    student: Model,
    teacher: Model | None,
    stage: specs.Stage,
    splits: Splits,
    data: specs.Data,
    training: specs.Training,
    *,
    folder: Path,
    name: str,
    resume: bool = True,
    progress: Progress | None = None,
) -> tuple[nn.Module, records.Training]:
    """Train a copy of the student, and return it as it was after its best epoch.

    The best epoch is the one of the highest top-1 on the validation images, or in a stage without
    labels of the best agreement with the teacher; the weights at the start count as epoch 0, and
    of equals the last one wins.

    Args:
        student: where it starts from; left as it is.
        teacher: None: the stage has no methods.
        stage: the objective and the schedule.
        splits: training images teach, validation images choose; test images are not read.
        data: batch size and augmentation.
        training: device, precision, compilation, seed.
        folder: for the state of the unfinished stage and the cached teacher; the caller removes
            it when the result is safe.
        name: of the stage, for messages.
        resume: go on from the state in ``folder`` if it is of this very training.
        progress: None: silent.

    Returns:
        The student in evaluation mode on the CPU, and what happened.

    Raises:
        UsageError: the stage cannot be trained as it is described, or the loss is not finite.
        DataError: too few images.
        DeviceError: the device is missing.
        EnvironmentMissingError: a compiler or room on the disk is missing.
    """
    listener = progress or Silent()
    processes = Processes(training.device)
    task = session.Task(student, teacher, stage, splits, data, training, folder, name)
    with hardware.reproducible(training, processes.device):
        running = session.start(task, processes, listener)
        history = History(running, resume=resume)
        if history.best_epoch is None:
            history.judge(0, _validate(running))
            _guard(running)
        schedule = optim.Schedule(stage, running.batches.steps)
        total = stage.epochs * running.batches.steps
        with listener.task(name, total) as bar:
            bar.advance(len(history.epochs) * running.batches.steps)
            while len(history.epochs) < stage.epochs:
                history.append(_epoch(running, schedule, history.epochs, bar))
    module = deepcopy(student.module).cpu()
    module.load_state_dict(history.best)
    notes = (*running.notes, *([schedule.note] if schedule.note else []))
    record = records.Training(
        provenance=provenance.stamp("torch", seed=training.seed),
        parents=tuple(m.record.weights_sha256 for m in (student, teacher) if m is not None),
        stage=name,
        epochs=tuple(history.epochs),
        best_epoch=history.best_epoch or 0,
        cache_seconds=running.cache_seconds,
        notes=notes,
    )
    return module.eval(), record


def _epoch(
    running: Session, schedule: optim.Schedule, past: Sequence[records.Epoch], bar: Task
) -> records.Epoch:
    """Go once through the training images, then score the validation images."""
    epoch, steps, lesson = len(past), running.batches.steps, running.lesson
    before_nd = _features(running) if epoch == 0 else None
    looked_at = running.batches.in_order(running.view(epoch))
    lesson.factors = balance.factors(
        lesson, running.watched, past, looked_at, _begin(running, epoch)
    )
    step = _begin(running, epoch)
    if isinstance(lesson.teacher, Adaptive):
        lesson.teacher.begin(step)
    sums: dict[str, Tensor] = {}
    note, rate, batch = "", 0.0, None
    start = time.perf_counter()
    for number, batch in enumerate(running.batches.epoch(epoch, running.view(epoch))):
        rate = schedule.rate(epoch * steps + number)
        terms = lesson(batch, step, rate)
        for term, value in terms.items():
            sums[term] = sums[term] + value if term in sums else value
        if number % _LOOK_EVERY[running.arithmetic.device.type] == 0 or number + 1 == steps:
            loss = _finite(running, epoch, terms)
            note = f"epoch {epoch + 1}/{step.epochs} loss {loss:.3f}"
        bar.advance(1, note)
    if running.arithmetic.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    running.processes.average_(sums.values())
    assert batch is not None
    norms = watch.gradients(lesson, running.watched, batch, _begin(running, epoch))
    right_percent = _validate(running)
    bar.advance(0, f"{note} validation {right_percent:.2f} %")
    labels = running.task.stage.labels
    means = {term: float(value) / steps for term, value in sums.items()}
    early_norm, norm = lesson.shock.read(epoch * steps)
    after_nd = None if before_nd is None else _features(running)
    return records.Epoch(
        epoch=epoch + 1,
        learning_rate=rate,
        terms=means,
        weights=lesson.weights(),
        losses=lesson.losses(means),
        factors=tuple(lesson.factors),
        gradient_norms=norms,
        validation_top1_percent=right_percent if labels else None,
        validation_agreement_percent=None if labels else right_percent,
        teacher_top1_percent=_guard(running),
        train_seconds=seconds,
        images_per_s=steps * running.batches.size / seconds,
        early_backbone_norm=early_norm,
        backbone_norm=norm,
        feature_drift=drift.drift(before_nd, after_nd)
        if before_nd is not None and after_nd is not None
        else None,
    )


def _features(running: Session) -> Tensor | None:
    """Return what the classifier reads about some validation images; in the main process alone."""
    if not running.processes.main:
        return None
    return drift.penultimate(
        running.lesson.student.module,
        running.lesson.classifier,
        running.task.splits.validation,
        running.task.student.record.normalisation,
        device=str(running.arithmetic.device),
    )


def _begin(running: Session, epoch: int) -> Step:
    """Draw the epoch's own random numbers: dropout uses the process's, methods a generator."""
    key = [running.task.training.seed, _DRAWS, epoch, running.processes.rank]
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    teacher = running.lesson.teacher
    guard = teacher.guard if isinstance(teacher, Adaptive) else 1.0
    return Step(epoch, running.task.stage.epochs, generator, guard)


def _guard(running: Session) -> float | None:
    """Let an adaptive teacher judge itself, and return its top-1 on the validation images."""
    teacher = running.lesson.teacher
    if not isinstance(teacher, Adaptive):
        return None
    assert running.task.teacher is not None
    top1_percent = score.top1_percent(
        teacher.teacher.module,
        running.task.splits.validation,
        running.task.teacher.record.normalisation,
        device=str(running.arithmetic.device),
    )
    teacher.judge(running.processes.agree(top1_percent))
    return top1_percent


def _validate(running: Session) -> float:
    """Return the share of the validation images that the student gets right, in percent.

    What is right the labels say or, in a stage without labels, the teacher. All processes get what
    the main one finds.
    """
    # Each process has normalised its own part of every batch; now they agree on the statistics.
    for module in {running.lesson.student.module, running.lesson.result}:
        running.processes.average_(module.buffers())
    right_percent = 0.0
    if running.processes.main:
        images = running.task.splits.validation
        logits_nk = score.predict(
            running.lesson.result,
            images,
            running.task.student.record.normalisation,
            device=str(running.arithmetic.device),
        )
        right_n = images.labels_n if running.task.stage.labels else running.taught_n
        right_percent = 100 * float((logits_nk.argmax(axis=1) == right_n).mean())
    return running.processes.agree(right_percent)


def _finite(running: Session, epoch: int, terms: dict[str, Tensor]) -> float:
    """Return the loss.

    Raises:
        UsageError: it is not finite.
    """
    values = {name: float(term) for name, term in terms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        stage = running.task.stage
        found = ", ".join(f"{name} = {value:g}" for name, value in values.items())
        raise UsageError(
            f"stage '{running.task.name}', epoch {epoch + 1}: the loss is not finite ({found}). "
            f"Lower learning_rate (now {stage.learning_rate:g}), lengthen warmup_epochs (now "
            f"{stage.warmup_epochs:g}) or set clip_norm (now {stage.clip_norm}); with amp, try "
            'training.amp = "off"'
        )
    return sum(values.values())
