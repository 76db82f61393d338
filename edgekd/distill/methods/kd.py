"""Logit distillation: Hinton, Vinyals and Dean, 2015, https://arxiv.org/abs/1503.02531."""

from torch import Tensor

from edgekd.distill.compare import (
    check_classes,
    check_positive,
    check_standardised,
    divergence,
    standardise,
)
from edgekd.distill.method import Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"


class KD(Method):
    """Match the teacher's softened class probabilities.

    kd = T^2 * mean over images of KL(softmax(teacher / T) || softmax(student / T))

    The factor T^2 keeps the gradient's size independent of T (section 2 of the paper). The
    divergence is summed over classes, so its size does not depend on their number.

    Args:
        temperature: T, > 0, no unit. 1 leaves the logits as they are.
        normalise: first bring the logits of each image to mean 0 and deviation 1,
            (z - mean) / (std + 1e-6), so that the student need not copy their size; Sun et al.,
            2024, https://arxiv.org/abs/2403.01427 (the idea is from its abstract; the 1e-6 and the
            deviation over K, not K - 1, are ours). Use it with a temperature of 1 to 2.

    Raises:
        ValueError: ``temperature`` is outside its range.
    """

    def __init__(self, *, temperature: float = 4.0, normalise: bool = False) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        self.temperature = temperature
        self.normalise = normalise

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Warn where soft labels say next to nothing.

        Raises:
            UsageError: logits of two classes are to be standardised.
        """
        del student, surgery
        check_classes("kd", teacher.logits_nk, self.temperature)
        if self.normalise:
            check_standardised("kd with normalise", teacher.logits_nk)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"kd"}."""
        del labels_n, step
        student_nk, teacher_nk = student.logits_nk, teacher.logits_nk.detach()
        if self.normalise:
            student_nk, teacher_nk = standardise(student_nk), standardise(teacher_nk)
        return {"kd": divergence(student_nk, teacher_nk, self.temperature)}
