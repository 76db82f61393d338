"""What a distillation method is: a file in ``methods/`` that turns a pair of outputs into losses.

Each file has a constant EVIDENCE that says what its formula rests on: "code", "paper", "abstract"
or "title".
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from edgekd.models.surgery import Surgery

Align = Literal["none", "index", "agnostic", "adapter"]


@dataclass(frozen=True)
class Outputs:
    """What a network says about N images.

    Args:
        logits_nk: [N, K].
        features: path of a tapped module of the student -> [N, C, H, W], in the order of the
            network. The teacher's are filed under the student's paths that they are paired with.
        others: what it says about the further images that a method asked for: one entry for its
            second view of the N images, or for what it made of the first M <= N of them.
    """

    logits_nk: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    others: tuple["Outputs", ...] = ()


Ask = Callable[[Tensor], Outputs]  # images [N, C, H, W], normalised -> what a network says of them


@dataclass(frozen=True)
class Step:
    """Where the training stands.

    Args:
        epoch: from 0.
        epochs: of the stage.
        generator: for the method's own random numbers; on the CPU.
        guard: in [0, 1]; an adaptive teacher takes so much less from the student.
    """

    epoch: int
    epochs: int
    generator: torch.Generator
    guard: float = 1.0


class Method(nn.Module, ABC):
    """A way to learn from a teacher; takes keyword arguments only.

    ``align`` says how channels of student and teacher meet: "none" (features are not compared),
    "index" (the channels that pruning kept), "agnostic" (channels are reduced away) or "adapter"
    (parameters of the method, trained with the student). An instance may narrow it.

    What else a method may need, the training serves:

    - ``second_view``: both networks also look at another variation of every image, with strong
      operations of this probability each (see ``edgekd.data.strong``). None: they do not.
    - ``perturb``: both networks, or the teacher alone, also look at images that the method makes.
    - ``teacher_terms``: the teacher learns, too; the stage must say ``teacher = "adaptive"``.
    """

    needs_features: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    works_cached: ClassVar[bool] = True  # the teacher's logits about the batch are enough
    perturbs: ClassVar[Literal["no", "for both", "for teacher"]] = "no"  # who sees what it makes
    adapts_teacher: ClassVar[bool] = False
    align: Align = "none"
    second_view: float | None = None

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Look once at a dry run of both networks before the training starts.

        Args:
            student: on the device of the training.
            teacher: likewise; what it says about the same images.
            surgery: which of the teacher's channels each tapped module of the student kept.

        Raises:
            UsageError: the method cannot serve this pair.
        """

    def perturb(
        self,
        images_nchw: Tensor,
        labels_n: Tensor | None,
        teacher: Outputs,
        ask: Ask,
        step: Step,
    ) -> Tensor:
        """Return M <= N images, made of the first M of the batch; needed if ``perturbs``.

        Args:
            images_nchw: normalised.
            labels_n: None: the stage does not read labels.
            teacher: what it says about the images.
            ask: what it says about others; gradients flow back to images that require them, and
                never into its parameters.
            step: where the training stands.
        """
        raise NotImplementedError

    @abstractmethod
    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return named scalar terms to be minimised, each averaged over the N images.

        Cross-entropy with the labels is not among them: it is the stage's own term. Outputs come
        in FP32 (or FP64), whatever the networks compute in. The first term is named like the
        method, the others begin so.
        """

    def teacher_terms(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return named scalar terms that an adaptive teacher minimises; needed if it adapts.

        The student's outputs carry no graph, the teacher's do.
        """
        raise NotImplementedError
