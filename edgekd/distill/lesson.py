"""One step of training: ask the teacher, ask the student, compare, improve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from edgekd.core.specs import Stage
from edgekd.distill import optim
from edgekd.distill.batches import Batch
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.method import Method, Outputs, Step
from edgekd.distill.processes import Processes
from edgekd.distill.taps import Tapped
from edgekd.distill.teacher import Source


@dataclass(frozen=True)
class Use:
    """A method, and the weight of its terms."""

    method: Method
    weight: float


class Lesson:
    """The student with all that it takes to improve it by one batch.

    Args:
        module: the student, on the device; it is trained in place.
        classifier: dotted name of its last layer.
        stage: the objective.
        paths: modules of the student whose features the methods read.
        uses: the methods.
        teacher: None: the methods need none, for there are none.
        arithmetic: how to compute.
        processes: who train together.
    """

    def __init__(
        self,
        module: nn.Module,
        classifier: str,
        stage: Stage,
        paths: Sequence[str],
        uses: Sequence[Use],
        teacher: Source | None,
        arithmetic: Arithmetic,
        processes: Processes,
    ) -> None:
        self.stage = stage
        self.classifier = classifier
        self.uses = tuple(uses)
        self.teacher = teacher
        self.arithmetic = arithmetic
        self.average: AveragedModel | None = None
        if stage.ema is not None:
            self.average = optim.average(module, stage.ema)
        _set_modes(module, classifier, stage)
        self.methods = nn.ModuleList(use.method for use in uses)
        self.student = Tapped(module, paths)
        forward: Any = self.student
        if arithmetic.compile:
            forward = torch.compile(forward, dynamic=False)
        self._forward = processes.wrap(forward)
        self._processes = processes
        extra = [parameter for parameter in self.methods.parameters() if parameter.requires_grad]
        self.optimiser: Optimizer = optim.make(module, classifier, stage, extra)
        self._extra = extra
        groups = self.optimiser.param_groups
        self._trained = [parameter for group in groups for parameter in group["params"]]

    def __call__(self, batch: Batch, step: Step, rate: float) -> dict[str, Tensor]:
        """Improve the student by one batch, and return the weighted terms of its loss.

        Args:
            batch: this process's part of it.
            step: where the training stands.
            rate: the learning rate.
        """
        # The teacher first: the other way round, memory of the student's graph lies between what
        # the teacher takes and frees, and the allocator pays for it with page faults.
        teacher = self.teach(batch)
        student = self.look(batch)
        terms = self.terms(student, teacher, batch.labels_n, step)
        self.differentiate(terms, student)
        self.descend(rate)
        return {name: term.detach() for name, term in terms.items()}

    def teach(self, batch: Batch) -> Outputs | None:
        """Return what the teacher says."""
        return None if self.teacher is None else self.teacher(batch)

    def look(self, batch: Batch, forward: nn.Module | None = None) -> Outputs:
        """Return what the student says, in FP32; not compiled if ``forward`` is the bare one."""
        amp = self.arithmetic.amp
        with torch.autocast(batch.images_nchw.device.type, dtype=amp, enabled=amp is not None):
            logits_nk, features = (forward or self._forward)(batch.images_nchw)
        # Softmax over positions and differences of moments lose their meaning in 8 bits of
        # mantissa, so losses are computed in FP32.
        found = {path: feature.float() for path, feature in features.items()}
        return Outputs(logits_nk.float(), found)

    def terms(
        self, student: Outputs, teacher: Outputs | None, labels_n: Tensor, step: Step
    ) -> dict[str, Tensor]:
        """Return the weighted terms; of two with one name, the second gets a number."""
        found: dict[str, Tensor] = {}
        if self.stage.ce > 0:
            smoothing = self.stage.label_smoothing
            ce = F.cross_entropy(student.logits_nk, labels_n, label_smoothing=smoothing)
            found["ce"] = self.stage.ce * ce
        for number, use in enumerate(self.uses, start=1):
            assert teacher is not None
            for name, term in use.method(student, teacher, labels_n, step).items():
                found[f"{name}-{number}" if name in found else name] = use.weight * term
        return found

    def differentiate(self, terms: dict[str, Tensor], student: Outputs) -> None:
        """Put the gradient of the sum of all terms into the parameters."""
        for parameter in self._trained:
            parameter.grad = None
        loss: Tensor = torch.stack(list(terms.values())).sum()
        read = True
        if self._processes.count > 1:
            # Processes wait for one another until every parameter has its gradient, also those of
            # a classifier that no term reads.
            logits_nk = student.logits_nk
            (gradient,) = torch.autograd.grad(loss, logits_nk, retain_graph=True, allow_unused=True)
            read = gradient is not None
            loss = loss if read else loss + 0 * logits_nk.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.average_(p.grad for p in self._extra if p.grad is not None)
        for parameter in self._trained if not read else ():
            if parameter.grad is not None and not parameter.grad.any():
                parameter.grad = None  # as in one process: it must not decay either

    def descend(self, rate: float) -> None:
        """Take one step against the gradient."""
        if self.stage.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._trained, self.stage.clip_norm, foreach=True)
        optim.set_rate(self.optimiser, rate)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.student.module)

    @property
    def result(self) -> nn.Module:
        """Return the network that is judged and kept: the averaged one, if there is one."""
        return self.student.module if self.average is None else self.average.module


def _set_modes(module: nn.Module, classifier: str, stage: Stage) -> None:
    """Freeze what does not learn. What is frozen keeps its statistics, too."""
    if stage.trainable == "classifier":
        module.eval().requires_grad_(requires_grad=False)
        module.get_submodule(classifier).train().requires_grad_(requires_grad=True)
        return
    module.train()
    if stage.batch_norm == "frozen":
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()
