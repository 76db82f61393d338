"""How the weights of a stage's methods are to be understood; the stage's ``balance`` chooses.

"none"           as factors on the losses.
"gradient-norm"  as shares of the pull of the cross-entropy: before the training each method's
                 gradient at the student's last feature is measured on up to 20 batches, and the
                 method is scaled so that at weight 1 it pulls there as strongly as cross-entropy
                 does (without one: as the first method does). What a method does to earlier
                 layers comes on top.
"loss-rate"      as factors, times Dynamic Weight Average: a method whose loss fell more slowly from
                 the epoch before last to the last one gets more, softmax(ratio / 2) * M. Liu, Johns
                 and Davison, 2019, https://arxiv.org/abs/1803.10704, section 3.2; AFT-KD describes
                 its weights in such words.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from itertools import islice

from edgekd.core import records
from edgekd.distill.batches import Batch
from edgekd.distill.lesson import Lesson
from edgekd.distill.method import Step
from edgekd.distill.watch import gradients

log = logging.getLogger(__name__)

_BATCHES = 20
_ROUNDING = 1e-6  # of the wanted pull; a student that equals its teacher has no other
_MOST = 1e4  # a loss that is small at the start must not drown all others when it grows
_SOFTNESS = 2.0  # the temperature of Dynamic Weight Average


def factors(
    lesson: Lesson,
    point: str | None,
    epochs: Sequence[records.Epoch],
    batches: Iterable[Batch],
    step: Step,
) -> list[float]:
    """Return what each method's weight is multiplied by in the coming epoch.

    Args:
        lesson: its stage says how.
        point: where gradients are measured, as in ``watch.gradient_norms``.
        epochs: those that are over.
        batches: to measure on; not read unless it is needed.
        step: where the training stands.
    """
    balance = lesson.stage.balance
    if balance == "gradient-norm" and not epochs:
        return _by_gradient(lesson, point, batches, step)
    if balance == "gradient-norm":
        return list(epochs[-1].factors)
    if balance == "loss-rate" and len(epochs) > 1:
        return _by_rate([epoch.losses for epoch in epochs[-2:]])
    return [1.0] * len(lesson.uses)


def _by_gradient(
    lesson: Lesson, point: str | None, batches: Iterable[Batch], step: Step
) -> list[float]:
    """Measure on some batches, in evaluation mode."""
    sums: dict[str, float] = {}
    for batch in islice(batches, _BATCHES):
        for name, norm in gradients(lesson, point, batch, step, by_method=True).items():
            sums[name] = sums.get(name, 0.0) + norm
    sums = {name: lesson.processes.mean(total) for name, total in sorted(sums.items())}
    pulls = [sums[str(number)] / use.weight for number, use in enumerate(lesson.uses)]
    wanted = sums["ce"] / lesson.stage.ce if lesson.stage.ce > 0 else pulls[0]
    found = [_factor(wanted, pull) for pull in pulls]
    for use, factor in zip(lesson.uses, found, strict=True):
        log.info("%s: weight %g times %.4g", use.name, use.weight, factor)
    return found


def _factor(wanted: float, pull: float) -> float:
    """Return what makes a pull as strong as it is wanted; of none but rounding, 1."""
    if pull <= _ROUNDING * wanted or wanted <= 0:
        return 1.0
    return min(wanted / pull, _MOST)


def _by_rate(losses: Sequence[Sequence[float]]) -> list[float]:
    """Dynamic Weight Average of the losses of two epochs, the earlier one first."""
    ratios = [new / old if old > 0 else 1.0 for old, new in zip(*losses, strict=True)]
    powers = [math.exp((ratio - max(ratios)) / _SOFTNESS) for ratio in ratios]
    return [len(powers) * power / sum(powers) for power in powers]
