"""Distillation weighted by how sure the teacher is, an idea of FCKDNet (2023).

FCKDNet: Yuan et al., Entropy 25:125, for segmentation; its abstract says that the teacher's entropy
condenses knowledge. To weigh whole images of a classifier by it is our transfer of the idea.
"""

import math

from torch import Tensor

from edgekd.distill.compare import check_classes, check_positive, divergences
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("fckdnet",)


class EntropyWeight(Method):
    """Listen to the teacher where it is sure, and less where it guesses.

    entropy_weight = mean over images of w * T^2 * KL(softmax(teacher / T) || softmax(student / T))
    w = 1 - H(softmax(teacher)) / log K, in [0, 1]; the entropy H is taken at temperature 1

    The weights are not scaled to a mean of 1: where the teacher guesses everywhere, nothing
    is learnt from it. With weights of 1 it is kd.

    Args:
        temperature: T, > 0, no unit.

    Raises:
        ValueError: ``temperature`` is outside its range.
    """

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        self.temperature = temperature

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Warn where soft labels say next to nothing."""
        del student, surgery
        check_classes("entropy_weight", teacher.logits_nk, self.temperature)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"entropy_weight"}."""
        del labels_n, step
        teacher_nk = teacher.logits_nk.detach()
        kl_n = divergences(student.logits_nk, teacher_nk, self.temperature)
        return {"entropy_weight": (sureness(teacher_nk) * kl_n).mean()}


def sureness(logits_nk: Tensor) -> Tensor:
    """Return 1 - H / log K for each image: 0 for equal logits, 1 for one certain class."""
    log_p_nk = logits_nk.log_softmax(dim=1)
    entropy_n = -(log_p_nk.exp() * log_p_nk).sum(dim=1)
    return (1 - entropy_n / math.log(logits_nk.shape[1])).clamp(0, 1)
