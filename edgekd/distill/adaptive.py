"""A teacher that learns together with the student, so that each can move towards the other.

After "Adaptive Teacher Finetune", of which an abstract could be read: the teacher is tuned during
offline distillation. The guard against its collapse is ours.
"""

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from edgekd.core.records import Normalisation
from edgekd.core.specs import Stage
from edgekd.distill import optim
from edgekd.distill.batches import Batch
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.method import Outputs, Step
from edgekd.distill.processes import Processes
from edgekd.distill.teacher import Online

log = logging.getLogger(__name__)

_LEARNS_FOR = 0.8  # share of the stage; then the student is taught by a teacher that stands still
_FALL_PP = 1.0  # of its validation top-1, at which the guard steps in


class Trainable(nn.Module):
    """A copy of a network that learns with the batch normalisation and dropout of evaluation."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = deepcopy(module).eval().requires_grad_(requires_grad=True)

    def train(self, mode: bool = True) -> "Trainable":  # noqa: FBT001, FBT002  as in torch
        """Stay in evaluation mode."""
        del mode
        return super().train(mode=False)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits [N, K]."""
        logits_nk: Tensor = self.module(images_nchw)
        return logits_nk


class Adaptive(Online):
    """A teacher that takes a step of its own after each of the student's.

    Args:
        teacher: on the device; it is trained in place.
        classifier: dotted name of its last layer.
        pairs: path of the student -> path of the teacher, whose features are read.
        normalisation: of the student, and of the teacher.
        arithmetic: how to compute.
        stage: its optimiser and clipping hold for the teacher, too, at ``teacher_rate``.
        processes: who train together.
    """

    def __init__(
        self,
        teacher: Trainable,
        classifier: str,
        pairs: Mapping[str, str],
        normalisation: tuple[Normalisation, Normalisation],
        arithmetic: Arithmetic,
        stage: Stage,
        processes: Processes,
    ) -> None:
        super().__init__(teacher, pairs, normalisation, arithmetic)
        self.teacher = teacher
        self.optimiser: Optimizer = optim.make(teacher.module, classifier, stage)
        self.guard = 1.0
        self._stage = stage
        self._processes = processes
        self._first_percent: float | None = None
        self._learning = True

    def __call__(self, batch: Batch) -> Outputs:
        """Return logits and features, with a graph as long as the teacher learns."""
        if self._learning:
            return self._say(self._bare, batch.images_nchw, self._arithmetic.amp)
        return self.look(batch.images_nchw)

    def begin(self, step: Step) -> None:
        """Stand still in the last fifth of the stage."""
        self._learning = step.epoch < _LEARNS_FOR * step.epochs

    def learn(self, terms: Mapping[str, Tensor], rate: float) -> None:
        """Take one step against the gradient of the sum of the terms, if it still learns.

        Args:
            terms: scalars with a graph to the teacher.
            rate: the student's learning rate.
        """
        if not self._learning:
            return
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self._processes.average_(p.grad for p in parameters if p.grad is not None)
        if self._stage.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self._stage.clip_norm, foreach=True)
        optim.set_rate(self.optimiser, rate * self._stage.teacher_rate)
        self.optimiser.step()

    def judge(self, top1_percent: float) -> None:
        """Halve the student's pull on a teacher that has lost more than 1 pp of its accuracy.

        Args:
            top1_percent: of the validation images; the first one is what it is compared with.
        """
        if self._first_percent is None:
            self._first_percent = top1_percent
        elif self._learning and top1_percent < self._first_percent - _FALL_PP:
            self.guard /= 2
            log.warning(
                "the adaptive teacher fell from %.2f %% to %.2f %% of the validation images: the "
                "student's pull on it is halved, to %g",
                self._first_percent,
                top1_percent,
                self.guard,
            )

    def facts(self) -> dict[str, Any]:
        """Return what to remember besides weights and optimiser."""
        return {"guard": self.guard, "first_percent": self._first_percent}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take up what ``facts`` returned."""
        self.guard = facts["guard"]
        self._first_percent = facts["first_percent"]
