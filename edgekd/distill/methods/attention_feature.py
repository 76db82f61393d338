"""Attention and features of each stage, after AFT-KD (Yang et al., Sci. Rep. 13:18369, 2023).

From the abstract: features become blocks of attention and feature, which are aligned block by
block. The formulas are ours. The paper also adapts the weights of its terms to how fast each one
falls: that is the stage's `balance = "loss-rate"`, not part of this method.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from edgekd.distill.compare import (
    attention,
    check_choice,
    choose,
    match,
    same_size,
    select,
)
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("aft-kd",)

_SIDE = 4  # positions along each side of a pooled map


class AttentionFeature(Method):
    """Match, stage by stage, where the teacher looks and what it finds there.

    Summed over stages (the last map of each size), averaged over images:

    - attention_feature = ||A_S - A_T||^2, A = m / ||m||_2, m = mean over channels of F^2
    - attention_feature_pooled = ||V_S - V_T||^2, V = v / ||v||_2, v = F averaged to at most 4x4
      positions, over channels and positions

    Each lies in [0, 4] for a stage, and scale does not matter. The larger one of two maps is
    averaged down to the size of the smaller.

    Args:
        align: how channels of V meet: "index" (those that pruning kept) or "adapter" (a 1x1
            convolution from the student's to the teacher's, which is trained along, begins as the
            identity and is no part of the exported student).

    Raises:
        ValueError: ``align`` is something else.
    """

    needs_features = True
    works_cached = False

    def __init__(self, *, align: Literal["index", "adapter"] = "index") -> None:
        super().__init__()
        check_choice("align", align, ("index", "adapter"))
        self.align: Align = align
        self._kept: dict[str, Tensor | None] = {}
        self.adapters = nn.ModuleList()

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the stages, and match their channels.

        Raises:
            UsageError: no features, or channels that cannot be matched.
        """
        paths = choose("attention_feature", student, "stages")
        self._kept, self.adapters = match(
            "attention_feature", paths, self.align, student, teacher, surgery
        )

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"attention_feature", "attention_feature_pooled"}."""
        del labels_n, step
        looks, finds = [], []
        for number, (path, indices_c) in enumerate(self._kept.items()):
            mine_nchw, theirs_nchw = same_size(
                student.features[path], teacher.features[path].detach()
            )
            looks.append(_apart(attention(mine_nchw), attention(theirs_nchw)))
            mine_nchw, theirs_nchw = _pool(mine_nchw), _pool(select(theirs_nchw, indices_c))
            if self.align == "adapter":
                mine_nchw = self.adapters[number](mine_nchw)
            units = (F.normalize(part.flatten(1), dim=1) for part in (mine_nchw, theirs_nchw))
            finds.append(_apart(*units))
        return {
            "attention_feature": torch.stack(looks).sum(),
            "attention_feature_pooled": torch.stack(finds).sum(),
        }


def _apart(one_nd: Tensor, other_nd: Tensor) -> Tensor:
    return (one_nd - other_nd).square().sum(dim=1).mean()


def _pool(map_nchw: Tensor) -> Tensor:
    height, width = (min(size, _SIDE) for size in map_nchw.shape[2:])
    return F.adaptive_avg_pool2d(map_nchw, (height, width))
