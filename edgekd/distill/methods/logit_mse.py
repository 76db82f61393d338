"""Squared difference of logits: Ba and Caruana, 2014, https://arxiv.org/abs/1312.6184.

As it is the default logit term in the published code of FAQD (lzj994/FAQD).
"""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.method import Method, Outputs, Step

EVIDENCE = "code"


class LogitMSE(Method):
    """Match the teacher's logits themselves.

    logit_mse = mean over images and classes of (student - teacher)^2

    Twice the limit of kd at a high temperature, but for what is added to all logits of an image,
    which kd ignores. With two classes softened probabilities carry one number, and a high
    temperature flattens it: this is then the better choice.
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"logit_mse"}."""
        del labels_n, step
        return {"logit_mse": F.mse_loss(student.logits_nk, teacher.logits_nk.detach())}
