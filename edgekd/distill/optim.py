"""Optimisers, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgekd.core.errors import UsageError
from edgekd.core.specs import Stage

_LONGEST_WARMUP = 0.5  # share of the stage, so that the cosine has room
_VECTOR = 1  # axes of a bias or of a normalisation's weight


def make(
    module: nn.Module, classifier: str, stage: Stage, others: Iterable[nn.Parameter] = ()
) -> Optimizer:
    """Return a new optimiser of all parameters that require gradients.

    Vectors (biases, weights of normalisations) do not decay. Each group's "share" is what its
    learning rate is of the stage's.

    Args:
        module: the student.
        classifier: dotted name of its last layer.
        stage: which optimiser, and its numbers.
        others: parameters of methods, which learn like the classifier.

    Raises:
        UsageError: there is nothing to train.
    """
    head = {id(parameter) for parameter in module.get_submodule(classifier).parameters()}
    kinds: dict[tuple[float, float], list[nn.Parameter]] = {}
    extra = {id(parameter): parameter for parameter in others}
    for parameter in chain(module.parameters(), extra.values()):
        if not parameter.requires_grad:
            continue
        share = 1.0 if id(parameter) in head | extra.keys() else stage.backbone_rate
        decay = 0.0 if parameter.ndim <= _VECTOR else stage.weight_decay
        kinds.setdefault((share, decay), []).append(parameter)
    groups = [
        {"params": parameters, "share": share, "weight_decay": decay}
        for (share, decay), parameters in kinds.items()
    ]
    if not groups:
        raise UsageError("the student has no parameters to train")
    rate = stage.learning_rate
    if stage.optimiser == "adamw":
        return AdamW(groups, lr=rate, fused=True)
    nesterov = stage.momentum > 0
    return SGD(groups, lr=rate, momentum=stage.momentum, nesterov=nesterov, fused=True)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


class Schedule:
    """A linear warm-up to the peak, then a cosine to 0, step by step; it has no state.

    Args:
        stage: its peak, its epochs and those of the warm-up, which is at most half of them.
        steps: in an epoch.
    """

    def __init__(self, stage: Stage, steps: int) -> None:
        self._peak = stage.learning_rate
        self._total = stage.epochs * steps
        wished = round(stage.warmup_epochs * steps)
        self._warmup = min(wished, int(_LONGEST_WARMUP * self._total))
        self.note = ""
        if self._warmup < wished:
            self.note = f"warm-up: {self._warmup} steps, half of the stage, instead of {wished}"

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        if step < self._warmup:
            return self._peak * (step + 1) / self._warmup
        done = (step - self._warmup) / (self._total - self._warmup)
        return self._peak * (1 + math.cos(math.pi * done)) / 2


def average(module: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of the network that follows its weights and statistics.

    average = decay * average + (1 - decay) * current, at every step; the first one is copied.
    """
    average_fn: Any = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(module, multi_avg_fn=average_fn, use_buffers=True)
