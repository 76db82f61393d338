"""What has become of a stage so far: its epochs, its best weights, and both on disk."""

import logging
from typing import Any

import torch
from torch import Tensor

from edgekd.core import records
from edgekd.distill import state
from edgekd.distill.adaptive import Adaptive
from edgekd.distill.session import Session
from edgekd.distill.state import State

log = logging.getLogger(__name__)


class History:
    """The epochs of a stage; goes on from the state on disk, if there is one.

    Args:
        running: its student, optimiser and methods are set to the state that is found.
        resume: False: a state on disk is not looked at.

    Raises:
        RecordError: the state on disk is damaged.
    """

    def __init__(self, running: Session, *, resume: bool) -> None:
        self.epochs: list[records.Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch: int | None = None
        self._best_percent = 0.0
        self._running = running
        self._key = running.task.key(running.processes.count)
        found = state.read(running.task.folder, self._key) if resume else None
        if found is not None:
            self._restore(found)
            log.info("%s: going on after epoch %d", running.task.name, len(self.epochs))

    def judge(self, epoch: int, right_percent: float) -> None:
        """Keep the weights as they are now, if none were better; of equals the last ones.

        Args:
            epoch: from 1; 0: before the first.
            right_percent: of the validation images, by their labels or by the teacher.
        """
        if self.best_epoch is not None and right_percent < self._best_percent:
            return
        self.best_epoch = epoch
        self._best_percent = right_percent
        weights = self._running.lesson.result.state_dict()
        self.best = {name: state.to_disk(tensor) for name, tensor in weights.items()}

    def append(self, epoch: records.Epoch) -> None:
        """Add an epoch, judge it, and write everything down."""
        self.epochs.append(epoch)
        self.judge(epoch.epoch, right_percent(epoch))
        if self._running.processes.main:
            state.write(self._running.task.folder, self._key, self._snapshot())
        self._running.processes.wait()

    def _snapshot(self) -> State:
        lesson = self._running.lesson
        facts: dict[str, Any] = {
            "epochs": [epoch.model_dump(mode="json") for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "best_percent": self._best_percent,
        }
        tensors = {
            **state.of_module(lesson.student.module, "student"),
            **state.of_module(lesson.methods, "methods"),
            **state.of_optimiser(lesson.optimiser),
            **{f"best.{name}": tensor for name, tensor in self.best.items()},
        }
        if lesson.average is not None:
            tensors |= state.of_module(lesson.average, "average")
        if isinstance(lesson.teacher, Adaptive):
            facts["teacher"] = lesson.teacher.facts()
            tensors |= state.of_module(lesson.teacher.teacher.module, "teacher")
            tensors |= state.of_optimiser(lesson.teacher.optimiser, "teacher-optimiser")
        return State(facts, tensors)

    def _restore(self, found: State) -> None:
        lesson = self._running.lesson
        self.epochs = [records.Epoch.model_validate(epoch) for epoch in found.facts["epochs"]]
        self.best_epoch = found.facts["best_epoch"]
        self._best_percent = found.facts["best_percent"]
        self.best = found.part("best")
        with torch.no_grad():
            lesson.student.module.load_state_dict(found.part("student"))
            lesson.methods.load_state_dict(found.part("methods"))
            state.into_optimiser(lesson.optimiser, found.part("optimiser"))
            if lesson.average is not None:
                lesson.average.load_state_dict(found.part("average"))
            if isinstance(lesson.teacher, Adaptive):
                lesson.teacher.restore(found.facts["teacher"])
                lesson.teacher.teacher.module.load_state_dict(found.part("teacher"))
                state.into_optimiser(lesson.teacher.optimiser, found.part("teacher-optimiser"))


def right_percent(epoch: records.Epoch) -> float:
    """Return what chooses among epochs: the top-1, or without labels the agreement."""
    found = epoch.validation_top1_percent
    if found is None:
        found = epoch.validation_agreement_percent
    assert found is not None
    return found
