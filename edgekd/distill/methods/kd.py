"""Logit distillation: Hinton, Vinyals and Dean, 2015, https://arxiv.org/abs/1503.02531."""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.method import Method, Outputs, Step

EVIDENCE = "code"


class KD(Method):
    """Match the teacher's softened class probabilities.

    kd = T^2 * mean over images of KL(softmax(teacher / T) || softmax(student / T))

    The factor T^2 keeps the gradient's size independent of T (section 2 of the paper). The
    divergence is summed over classes, so its size does not depend on their number.

    Args:
        temperature: T, > 0, no unit. 1 leaves the logits as they are.

    Raises:
        ValueError: ``temperature`` is outside its range.
    """

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be > 0, but is {temperature}")
        self.temperature = temperature

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"kd"}."""
        del labels_n, step
        log_p_nk = F.log_softmax(student.logits_nk / self.temperature, dim=1)
        log_q_nk = F.log_softmax(teacher.logits_nk.detach() / self.temperature, dim=1)
        kl = F.kl_div(log_p_nk, log_q_nk, reduction="batchmean", log_target=True)
        return {"kd": self.temperature**2 * kl}
