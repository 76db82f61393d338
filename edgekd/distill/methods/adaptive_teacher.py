"""A teacher that learns with its student, compared by an alpha-divergence (after ATF).

Reconstructed from the abstract of "Adaptive Teacher Finetune": the teacher is tuned with
information from the student during offline distillation, over normalised logits and with an
alpha-divergence. That divergence, its gradient and the choice between two values of alpha follow
the published code of AlphaNet, https://arxiv.org/abs/2102.07954. How they are put together is ours.

Suffixes: N images, K classes.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import (
    check_not_negative,
    check_positive,
    check_standardised,
    standardise,
)
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("atf",)

_LEAST, _MOST = -1.0, 2.0  # beyond, powers of ratios overflow FP32
_TINY = 1e-12  # where the limit is nearer than rounding
_BOTH = (-1.0, 1.0)  # "adaptive" takes the larger one


class AdaptiveTeacher(Method):
    """Let student and teacher move towards each other; the stage says ``teacher = "adaptive"``.

    With n(z) = (z - mean z) / (std z + 1e-6) over the classes and p = softmax(n(z) / T):

    - the student minimises  adaptive_teacher = T^2 * mean D(p_T || p_S)
    - the teacher minimises  adaptive_teacher_ce = its cross-entropy with the labels
      and  adaptive_teacher_student = teacher_weight * guard * mean D(p_S || p_T)

    Each takes the other as given. D is the alpha-divergence, >= 0 and 0 for equals only:

        D_a(p || q) = sum q [(p / q)^a - 1] / (a (a - 1))

    a = 1 is KL(p || q), a = 0 is KL(q || p), a = -1 is half of sum (p - q)^2 / p. In its gradient,
    -sum q (p / q)^a / a * grad log q, (p / q)^a is clipped; the value stays what it is.

    Args:
        temperature: T, > 0, no unit; logits are standardised, so 1 to 2 is much already.
        alpha: -1 to 2, or "adaptive": for each image the larger of a = -1 and a = 1.
        clip: > 1; the largest (p / q)^a that the gradient sees.
        teacher_weight: >= 0; how much the student moves the teacher, which at 0 still learns from
            its labels (the stage's ``teacher_rate = 0`` freezes it). The guard (``Step.guard``)
            makes it smaller when the teacher has lost accuracy.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_labels = True
    works_cached = False
    adapts_teacher = True

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        alpha: float | Literal["adaptive"] = "adaptive",
        clip: float = 5.0,
        teacher_weight: float = 0.3,
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        if isinstance(alpha, str):
            if alpha != "adaptive":
                raise ValueError(f'alpha must be a number or "adaptive", but is "{alpha}"')
        elif not _LEAST <= alpha <= _MOST:
            raise ValueError(f"alpha must lie in [{_LEAST:g}, {_MOST:g}], but is {alpha}")
        if not clip > 1:
            raise ValueError(f"clip must be > 1, but is {clip}")
        check_not_negative("teacher_weight", teacher_weight)
        self.temperature = temperature
        self.alphas = _BOTH if isinstance(alpha, str) else (float(alpha),)
        self.clip = clip
        self.teacher_weight = teacher_weight

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Count the classes.

        Raises:
            UsageError: there are two.
        """
        del student, surgery
        check_standardised("adaptive_teacher", teacher.logits_nk)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"adaptive_teacher"}."""
        del labels_n, step
        apart = self._compare(teacher.logits_nk, student.logits_nk)
        return {"adaptive_teacher": self.temperature**2 * apart}

    def teacher_terms(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"adaptive_teacher_ce", "adaptive_teacher_student"}."""
        assert labels_n is not None
        apart = self._compare(student.logits_nk, teacher.logits_nk)
        return {
            "adaptive_teacher_ce": F.cross_entropy(teacher.logits_nk, labels_n),
            "adaptive_teacher_student": self.teacher_weight * step.guard * apart,
        }

    def _compare(self, target_nk: Tensor, learner_nk: Tensor) -> Tensor:
        """Return the mean divergence, with a gradient for the learner alone."""
        log_p_nk = F.log_softmax(standardise(target_nk) / self.temperature, dim=1)
        log_q_nk = F.log_softmax(standardise(learner_nk) / self.temperature, dim=1)
        found_an = [divergence(log_p_nk, log_q_nk, alpha, self.clip) for alpha in self.alphas]
        return torch.stack(found_an).amax(dim=0).mean()


def divergence(log_p_nk: Tensor, log_q_nk: Tensor, alpha: float, clip: float) -> Tensor:
    """Return D_alpha(p || q) of each image [N], with the clipped gradient for q alone.

    Args:
        log_p_nk: logarithms of probabilities that are given.
        log_q_nk: likewise, of the learner.
        alpha: any number; 0 and 1 are limits that the values run into smoothly.
        clip: the largest (p / q)^alpha in the gradient; inf: the gradient is exact.
    """
    log_p_nk, fixed_nk = log_p_nk.detach(), log_q_nk.detach()
    ratio_nk = log_p_nk - fixed_nk
    # Two ways to write one sum; near 0 and near 1 one of them each keeps its digits.
    if alpha < 0.5:  # noqa: PLR2004  halfway
        value_n = (fixed_nk.exp() * _power(ratio_nk, alpha)).sum(dim=1) / (alpha - 1)
    else:
        value_n = (log_p_nk.exp() * _power(ratio_nk, alpha - 1)).sum(dim=1) / alpha
    # Less 1 / alpha than in the formula, so that it has a limit; as sum q * grad log q = 0, the
    # gradient is the same.
    pull_nk = fixed_nk.exp() * _power(ratio_nk, alpha, math.log(clip))
    slope_n = -(pull_nk * log_q_nk).sum(dim=1)
    return value_n + (slope_n - slope_n.detach())


def _power(ratio_nk: Tensor, alpha: float, most: float = math.inf) -> Tensor:
    """Return (exp(alpha * ratio) - 1) / alpha, alpha * ratio <= most; at alpha = 0 the ratio."""
    if abs(alpha) < _TINY:
        return ratio_nk
    return (alpha * ratio_nk).clamp(max=most).expm1() / alpha
