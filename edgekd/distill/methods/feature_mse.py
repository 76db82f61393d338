"""Squared difference of features, in the manner of FitNets (2015) and of KDFT's optional term.

FitNets: Romero et al., https://arxiv.org/abs/1412.6550: one layer, through a convolution, as in
megvii-research/mdistiller, distillers/FitNet.py. KDFT's term is inferred: its abstract names none.
That layers are summed and each is divided by the teacher's energy is our choice.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from edgekd.distill.compare import (
    LAYERS,
    Layers,
    check_choice,
    choose,
    match,
    same_size,
    select,
)
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"

_EPSILON = 1e-6


class FeatureMSE(Method):
    """Match feature maps value by value.

    feature_mse = sum over layers of mean((F_S - F_T)^2) / (mean(F_T^2) + 1e-6)

    Means go over images, channels and positions; the division makes layers of different scale
    comparable. 1 is what a student that says 0 everywhere gets for each layer. The larger one of
    two maps is averaged down to the size of the smaller.

    Args:
        align: "index" compares the channels that pruning kept with themselves; "adapter" sends the
            student through a 1x1 convolution to all of the teacher's channels. The convolution is
            trained along, begins as the identity and is no part of the exported student.
        layers: "stages" (the last map of each size), "last" or "all".

    Raises:
        ValueError: an argument is something else.
    """

    needs_features = True
    works_cached = False

    def __init__(
        self, *, align: Literal["index", "adapter"] = "index", layers: Layers = "stages"
    ) -> None:
        super().__init__()
        check_choice("align", align, ("index", "adapter"))
        check_choice("layers", layers, LAYERS)
        self.align: Align = align
        self.layers = layers
        self._kept: dict[str, Tensor | None] = {}
        self.adapters = nn.ModuleList()

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the layers, and match their channels.

        Raises:
            UsageError: no features, or channels that cannot be matched.
        """
        paths = choose("feature_mse", student, self.layers)
        self._kept, self.adapters = match(
            "feature_mse", paths, self.align, student, teacher, surgery
        )

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"feature_mse"}."""
        del labels_n, step
        losses = []
        for number, (path, indices_c) in enumerate(self._kept.items()):
            mine_nchw, theirs_nchw = student.features[path], teacher.features[path].detach()
            if self.align == "adapter":
                mine_nchw = self.adapters[number](mine_nchw)
            mine_nchw, theirs_nchw = same_size(mine_nchw, select(theirs_nchw, indices_c))
            energy = theirs_nchw.square().mean() + _EPSILON
            losses.append((mine_nchw - theirs_nchw).square().mean() / energy)
        return {"feature_mse": torch.stack(losses).sum()}
