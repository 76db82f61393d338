"""Attention transfer: Zagoruyko and Komodakis, 2017, https://arxiv.org/abs/1612.03928.

The formula is that of megvii-research/mdistiller, distillers/AT.py, which follows the authors' own.
"""

import torch
from torch import Tensor

from edgekd.distill.compare import LAYERS, Layers, attention, check_choice, choose, same_size
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"


class AT(Method):
    """Match where in the image the energy of the features lies.

    at = sum over layers of mean over images and positions of (A_S - A_T)^2, with
    A = m / ||m||_2 and m = mean over channels of F^2, a vector over positions

    Channels are averaged away, so students of any width can learn; the larger one of two maps is
    averaged down to the size of the smaller. Scale does not matter. A unit vector's entries
    are small: the published weight of this term is 1000.

    Args:
        layers: "stages" (the last map of each size, as published), "last" or "all".

    Raises:
        ValueError: ``layers`` is something else.
    """

    needs_features = True
    works_cached = False
    align: Align = "agnostic"

    def __init__(self, *, layers: Layers = "stages") -> None:
        super().__init__()
        check_choice("layers", layers, LAYERS)
        self.layers = layers
        self._paths: list[str] = []

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the layers.

        Raises:
            UsageError: there are no features.
        """
        del teacher, surgery
        self._paths = choose("at", student, self.layers)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"at"}."""
        del labels_n, step
        losses = []
        for path in self._paths:
            pair = same_size(student.features[path], teacher.features[path].detach())
            mine_np, theirs_np = map(attention, pair)
            losses.append((mine_np - theirs_np).square().mean())
        return {"at": torch.stack(losses).sum()}
