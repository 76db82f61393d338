"""Decoupled knowledge distillation: Zhao et al., 2022, https://arxiv.org/abs/2203.08679.

Formula and defaults are those of the authors' code, megvii-research/mdistiller, distillers/DKD.py.
"""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.compare import check_not_negative, check_positive, divergence
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"

_FEWEST_CLASSES = 3  # two leave one other class, whose share among the others is always 1


class DKD(Method):
    """Match how sure the teacher is of the label, and, apart from it, what it says of the rest.

    With p = softmax(teacher / T), q = softmax(student / T) and y the label, averaged over images:

    - dkd = a * T^2 * KL((p_y, 1 - p_y) || (q_y, 1 - q_y))
    - dkd_other = b * T^2 * KL(p' || q'), where p' and q' are p and q over the K - 1 classes other
      than y, scaled to sum to 1

    In plain distillation the second part has the weight 1 - p_y, so what a sure teacher knows
    about the other classes is lost. With a = 1 and 1 - p_y in the place of b the sum is kd.

    Args:
        temperature: T, > 0, no unit.
        target_weight: a, >= 0.
        other_weight: b, >= 0; the published code uses 8, for a few pairs less.
        warmup_epochs: >= 0; in so many epochs the whole loss grows linearly to its full weight. The
            published code takes 20 of 240; a short stage that starts near its teacher needs none.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_labels = True

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        target_weight: float = 1.0,
        other_weight: float = 8.0,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        check_not_negative("target_weight", target_weight)
        check_not_negative("other_weight", other_weight)
        check_not_negative("warmup_epochs", warmup_epochs)
        self.temperature = temperature
        self.target_weight = target_weight
        self.other_weight = other_weight
        self.warmup_epochs = warmup_epochs

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Count the classes.

        Raises:
            UsageError: there are fewer than three.
        """
        del student, surgery
        classes = teacher.logits_nk.shape[1]
        if classes < _FEWEST_CLASSES:
            raise UsageError(
                f"dkd compares the classes other than the label, of which {classes} classes leave "
                "one or none; it needs 3. Use method 'logit_mse' or 'kd'"
            )

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"dkd", "dkd_other"}."""
        assert labels_n is not None
        tau = self.temperature
        target_q_n2, others_q_nk = _split(student.logits_nk / tau, labels_n)
        target_p_n2, others_p_nk = _split(teacher.logits_nk.detach() / tau, labels_n)
        factor = min((step.epoch + 1) / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0
        factor *= tau**2
        return {
            "dkd": factor * self.target_weight * divergence(target_q_n2, target_p_n2, 1.0),
            "dkd_other": factor * self.other_weight * divergence(others_q_nk, others_p_nk, 1.0),
        }


def _split(logits_nk: Tensor, labels_n: Tensor) -> tuple[Tensor, Tensor]:
    """Return log (p_y, 1 - p_y) as [N, 2] and the logits of the other classes as [N, K - 1]."""
    log_p_nk = F.log_softmax(logits_nk, dim=1)
    first = torch.arange(logits_nk.shape[1] - 1, device=logits_nk.device)
    columns = first + (first >= labels_n[:, None])  # all but the label's
    others_nk = log_p_nk.gather(1, columns)
    target_n1 = log_p_nk.gather(1, labels_n[:, None])
    return torch.cat([target_n1, others_nk.logsumexp(dim=1, keepdim=True)], dim=1), others_nk
