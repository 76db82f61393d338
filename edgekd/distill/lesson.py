"""One step of training: ask the teacher, ask the student, compare, improve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from edgekd.core.specs import Stage
from edgekd.distill import optim
from edgekd.distill.adaptive import Adaptive
from edgekd.distill.batches import Batch
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.method import Method, Outputs, Step
from edgekd.distill.processes import Processes
from edgekd.distill.shock import Shock
from edgekd.distill.taps import Tapped
from edgekd.distill.teacher import Source


@dataclass(frozen=True)
class Use:
    """A method as the recipe names it, and the weight of its terms."""

    name: str
    method: Method
    weight: float


@dataclass(frozen=True)
class Taught:
    """What the teacher says about all images of a step.

    Args:
        batch: the N images.
        images_nchw: what the student is to see: the batch, its second view, then what each method
            made for both.
        said: about the batch; None: there is no teacher.
        second: about its second view, if there is one.
        made: about the images that each method made.
    """

    batch: Batch
    images_nchw: Tensor
    said: Outputs | None
    second: Outputs | None
    made: Mapping[Method, Outputs]

    def pair(self, method: Method, student: Outputs) -> tuple[Outputs, Outputs]:
        """Return what student and teacher say about the images that one method compares."""
        assert self.said is not None
        count = len(self.batch.images_nchw)
        at = count if self.second is None else 2 * count
        mine, teachers = part(student, 0, count), self.said
        for other, made in self.made.items():
            size = len(made.logits_nk) if other.perturbs == "for both" else 0
            if other is method:
                others = (part(student, at, size),) if size else ()
                return replace(mine, others=others), replace(teachers, others=(made,))
            at += size
        if method.second_view is not None:
            assert self.second is not None
            return (
                replace(mine, others=(part(student, count, count),)),
                replace(teachers, others=(self.second,)),
            )
        return mine, teachers


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
        self.factors = [1.0] * len(self.uses)  # what the stage's balance makes of the weights
        self.owners: dict[str, int] = {}  # name of a term -> number of its method
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
        self.processes = processes
        extra = [parameter for parameter in self.methods.parameters() if parameter.requires_grad]
        self.optimiser: Optimizer = optim.make(module, classifier, stage, extra)
        self._extra = extra
        groups = self.optimiser.param_groups
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self.shock = Shock(module, classifier)
        backbone = {id(parameter) for parameter in self.shock.backbone}
        self._rest = [parameter for parameter in self._trained if id(parameter) not in backbone]

    def __call__(self, batch: Batch, step: Step, rate: float) -> dict[str, Tensor]:
        """Improve the student by one batch, and return the weighted terms of its loss.

        Args:
            batch: this process's part of it.
            step: where the training stands.
            rate: the learning rate.
        """
        # The teacher first: the other way round, memory of the student's graph lies between what
        # the teacher takes and frees, and the allocator pays for it with page faults.
        taught = self.teach(batch, step)
        student = self.look(taught.images_nchw)
        terms = self.terms(taught, student, step)
        self.differentiate(terms, student)
        self.descend(rate)
        if isinstance(self.teacher, Adaptive):
            theirs = self._teacher_terms(taught, student, step)
            self.teacher.learn(theirs, rate)
            terms |= theirs
        return {name: term.detach() for name, term in terms.items()}

    def teach(self, batch: Batch, step: Step) -> Taught:
        """Ask the teacher about everything that the student is about to see."""
        if self.teacher is None:
            return Taught(batch, batch.images_nchw, None, None, {})
        images = [batch.images_nchw]
        said = self.teacher(batch)
        second: Outputs | None = None
        if batch.second_nchw is not None:
            images.append(batch.second_nchw)
            second = self.teacher.look(batch.second_nchw)
        made: dict[Method, Outputs] = {}
        for method in (use.method for use in self.uses if use.method.perturbs != "no"):
            made_nchw = method.perturb(
                batch.images_nchw, batch.labels_n, said, self.teacher.ask, step
            )
            made[method] = self.teacher.look(made_nchw)
            if method.perturbs == "for both":
                images.append(made_nchw)
        images_nchw = torch.cat(images) if len(images) > 1 else images[0]
        return Taught(batch, images_nchw, said, second, made)

    def look(self, images_nchw: Tensor, forward: nn.Module | None = None) -> Outputs:
        """Return what the student says, in FP32; not compiled if ``forward`` is the bare one."""
        amp = self.arithmetic.amp
        with torch.autocast(images_nchw.device.type, dtype=amp, enabled=amp is not None):
            logits_nk, features = (forward or self._forward)(images_nchw)
        # Softmax over positions and differences of moments lose their meaning in 8 bits of
        # mantissa, so losses are computed in FP32.
        found = {path: feature.float() for path, feature in features.items()}
        return Outputs(logits_nk.float(), found)

    def terms(self, taught: Taught, student: Outputs, step: Step) -> dict[str, Tensor]:
        """Return the weighted terms; of two with one name, the second gets a number.

        Args:
            taught: what the teacher says.
            student: what the student says about ``taught.images_nchw``.
            step: where the training stands.
        """
        found: dict[str, Tensor] = {}
        labels_n = taught.batch.labels_n
        if self.stage.ce > 0:
            assert labels_n is not None
            views = 1 if taught.second is None else 2
            logits_nk = student.logits_nk[: views * len(labels_n)]
            found["ce"] = self.stage.ce * F.cross_entropy(
                logits_nk, labels_n.repeat(views), label_smoothing=self.stage.label_smoothing
            )
        for number, use in enumerate(self.uses):
            mine, teachers = taught.pair(use.method, student)
            for term, value in use.method(mine, detached(teachers), labels_n, step).items():
                name = f"{term}-{number + 1}" if term in found else term
                found[name] = use.weight * self.factors[number] * value
                self.owners[name] = number
        return found

    def weights(self) -> dict[str, float]:
        """Return the weight of each term, as far as any was computed."""
        weights = {"ce": self.stage.ce} if self.stage.ce > 0 else {}
        for name, number in self.owners.items():
            weights[name] = self.uses[number].weight * self.factors[number]
        return weights

    def losses(self, terms: Mapping[str, float]) -> tuple[float, ...]:
        """Return each method's share of the terms, before the balance's factor."""
        return tuple(
            sum(value for name, value in terms.items() if self.owners.get(name) == number) / factor
            for number, factor in enumerate(self.factors)
        )

    def _teacher_terms(self, taught: Taught, student: Outputs, step: Step) -> dict[str, Tensor]:
        """Return the weighted terms that an adaptive teacher minimises."""
        found: dict[str, Tensor] = {}
        for use in self.uses:
            if use.method.adapts_teacher:
                mine, teachers = taught.pair(use.method, detached(student))
                terms = use.method.teacher_terms(mine, teachers, taught.batch.labels_n, step)
                found |= {name: use.weight * term for name, term in terms.items()}
        return found

    def differentiate(self, terms: dict[str, Tensor], student: Outputs) -> None:
        """Put the gradient of the sum of all terms into the parameters."""
        for parameter in self._trained:
            parameter.grad = None
        loss: Tensor = torch.stack(list(terms.values())).sum()
        read = True
        if self.processes.count > 1:
            # Processes wait for one another until every parameter has its gradient, also those of
            # a classifier that no term reads.
            logits_nk = student.logits_nk
            (gradient,) = torch.autograd.grad(loss, logits_nk, retain_graph=True, allow_unused=True)
            read = gradient is not None
            loss = loss if read else loss + 0 * logits_nk.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self.processes.average_(p.grad for p in self._extra if p.grad is not None)
        for parameter in self._trained if not read else ():
            if parameter.grad is not None and not parameter.grad.any():
                parameter.grad = None  # as in one process: it must not decay either

    def descend(self, rate: float) -> None:
        """Take one step against the gradient."""
        backbone = self.shock.note()
        if self.stage.clip_norm is not None:
            # The norm of all gradients is that of the backbone's norm and the other gradients.
            norms = [p.grad for p in self._rest if p.grad is not None]
            norms += [] if backbone is None else [backbone]
            norm = nn.utils.get_total_norm(norms, foreach=True)
            nn.utils.clip_grads_with_norm_(self._trained, self.stage.clip_norm, norm, foreach=True)
        optim.set_rate(self.optimiser, rate)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.student.module)

    @property
    def result(self) -> nn.Module:
        """Return the network that is judged and kept: the averaged one, if there is one."""
        return self.student.module if self.average is None else self.average.module


def part(outputs: Outputs, first: int, count: int) -> Outputs:
    """Return what was said about ``count`` images from number ``first``."""
    if first == 0 and count == len(outputs.logits_nk):
        return outputs
    rows = slice(first, first + count)
    return Outputs(outputs.logits_nk[rows], {p: f[rows] for p, f in outputs.features.items()})


def detached(outputs: Outputs) -> Outputs:
    """Return the same values without their graph."""
    features = {path: feature.detach() for path, feature in outputs.features.items()}
    others = tuple(detached(other) for other in outputs.others)
    return Outputs(outputs.logits_nk.detach(), features, others)


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
