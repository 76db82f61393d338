"""Cosine confidence distillation over two views of every image (CCD with JDA, 2022).

"What Role Does Data Augmentation Play in Knowledge Distillation?", ACCV 2022. Loss and operations
were read in its published code; there, cross-entropy over both views and this loss have the same
weight.
"""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import check_classes, check_positive, divergences
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"


class CCD(Method):
    """Learn from a strong second view as far as the teacher says of it what it says of the first.

    ccd = T^2 / 2 * [mean KL(x) + mean w KL(x~)],  w = 1 + cos(z_T(x), z_T(x~)) in [0, 2]

    KL is that of ``kd`` at temperature T, x the image, x~ its second view (see
    ``edgekd.data.strong``), z_T the teacher's raw logits. The weights are not normalised, as
    published: where both views are alike, w is 2 and the loss 1.5 times that of ``kd``. The
    stage's cross-entropy reads both views, too. A step costs two passes of both networks.

    Args:
        temperature: T, > 0, no unit.
        probability: of each strong operation of the second view, 0 to 1. Published: 0.5 for
            CIFAR-10, 0.3 for CIFAR-100, 0.2 for ImageNet.
        weighted: False: w = 1, which is ``kd`` on both views (published as KD + JDA).

    Raises:
        ValueError: an argument is outside its range.
    """

    works_cached = False

    def __init__(
        self, *, temperature: float = 4.0, probability: float = 0.5, weighted: bool = True
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], but is {probability}")
        self.temperature = temperature
        self.second_view = probability
        self.weighted = weighted

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Warn where soft labels say next to nothing."""
        del student, surgery
        check_classes("ccd", teacher.logits_nk, self.temperature)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"ccd"}."""
        del labels_n, step
        (mine,), (theirs,) = student.others, teacher.others
        first_nk, second_nk = teacher.logits_nk.detach(), theirs.logits_nk.detach()
        first_n = divergences(student.logits_nk, first_nk, self.temperature)
        second_n = divergences(mine.logits_nk, second_nk, self.temperature)
        if self.weighted:
            second_n = second_n * (1 + F.cosine_similarity(first_nk, second_nk, dim=1))
        return {"ccd": (first_n.mean() + second_n.mean()) / 2}
