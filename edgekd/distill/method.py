"""What a distillation method is: a file in ``methods/`` that turns a pair of outputs into losses.

Each file has a constant EVIDENCE that says what its formula rests on: "code", "paper", "abstract"
or "title".
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    """

    logits_nk: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Where the training stands.

    Args:
        epoch: from 0.
        epochs: of the stage.
        generator: for the method's own random numbers; on the CPU.
    """

    epoch: int
    epochs: int
    generator: torch.Generator


class Method(nn.Module, ABC):
    """A way to learn from a teacher; takes keyword arguments only.

    ``align`` says how channels of student and teacher meet: "none" (features are not compared),
    "index" (the channels that pruning kept), "agnostic" (channels are reduced away) or "adapter"
    (parameters of the method, trained with the student). An instance may narrow it.
    """

    needs_features: ClassVar[bool] = False
    works_cached: ClassVar[bool] = True  # the teacher's logits alone are enough
    align: Align = "none"

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Look once at a dry run of both networks before the training starts.

        Args:
            student: on the device of the training.
            teacher: likewise; what it says about the same images.
            surgery: which of the teacher's channels each tapped module of the student kept.

        Raises:
            UsageError: the method cannot serve this pair.
        """

    @abstractmethod
    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return named scalar terms to be minimised, each averaged over the N images.

        Cross-entropy with the labels is not among them: it is the stage's own term. Outputs come
        in FP32 (or FP64), whatever the networks compute in.
        """
