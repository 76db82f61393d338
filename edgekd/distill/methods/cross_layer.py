"""Features shared across layers, in the manner of Shared-KD (2024).

From the abstract of Guo et al., Electronics 13:1595, which is about detection: gaps between
neighbouring layers of the student are smaller than those to the teacher, so both kinds are closed.
The formulas, and the projections that a classifier's widths make necessary, are ours.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.distill.compare import check_not_negative, choose, pointwise, same_size
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("shared-kd",)

_EPSILON = 1e-6
_FEWEST_STAGES = 2


class CrossLayer(Method):
    """Match what neighbouring stages of the teacher share, and close the student's own gaps.

    With S_l and T_l the last maps of stage l, brought to a common width W, averaged down where
    sizes differ, and e_l = mean(R_l^2) + 1e-6:

    - cross_layer = sum over l of mean((S_l - R_l)^2) / e_l, where R_l = (T_l + T_(l-1)) / 2 and
      R_1 = T_1
    - cross_layer_gap = g * sum over l of mean((S_l - S_(l+1))^2) / e_(l+1); S_(l+1) is a
      constant here, so the earlier stage follows the later one

    W is the smallest width of the teacher's stages. The teacher's projections are fixed
    orthonormal ones: were they trained, both sides could meet at 0. The student's are 1x1
    convolutions that are trained along and are no part of the exported student.

    Args:
        gap_weight: g, >= 0; 0 leaves the student's own gaps as they are.

    Raises:
        ValueError: ``gap_weight`` is outside its range.
    """

    needs_features = True
    works_cached = False
    align: Align = "adapter"

    def __init__(self, *, gap_weight: float = 0.5) -> None:
        super().__init__()
        check_not_negative("gap_weight", gap_weight)
        self.gap_weight = gap_weight
        self._paths: list[str] = []
        self.student_projections = nn.ModuleList()
        self.teacher_projections = nn.ModuleList()

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the stages, and make the projections.

        Raises:
            UsageError: there are no two stages.
        """
        del surgery
        self._paths = choose("cross_layer", student, "stages")
        if len(self._paths) < _FEWEST_STAGES:
            raise UsageError(
                "cross_layer compares neighbouring stages, but all of the student's maps have one "
                "size. Use method 'feature_mse' or 'at'"
            )
        width = min(teacher.features[path].shape[1] for path in self._paths)
        generator = torch.Generator().manual_seed(0)  # all processes begin alike
        self.student_projections = _projections(student, self._paths, width, generator)
        self.teacher_projections = _projections(teacher, self._paths, width, generator)
        self.teacher_projections.requires_grad_(requires_grad=False)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"cross_layer", "cross_layer_gap"}."""
        del labels_n, step
        mine = _project(self.student_projections, student, self._paths)
        theirs = [
            part.detach() for part in _project(self.teacher_projections, teacher, self._paths)
        ]
        shared = [theirs[0]]
        for before_nchw, here_nchw in pairwise(theirs):
            shared.append(torch.stack(same_size(here_nchw, before_nchw)).mean(dim=0))
        energies = [target_nchw.square().mean() + _EPSILON for target_nchw in shared]
        pulls = [
            _apart(mine_nchw, target_nchw) / energy
            for mine_nchw, target_nchw, energy in zip(mine, shared, energies, strict=True)
        ]
        terms = {"cross_layer": torch.stack(pulls).sum()}
        if self.gap_weight > 0:
            gaps = [
                _apart(here_nchw, next_nchw.detach()) / energy
                for (here_nchw, next_nchw), energy in zip(pairwise(mine), energies[1:], strict=True)
            ]
            terms["cross_layer_gap"] = self.gap_weight * torch.stack(gaps).sum()
        return terms


def _projections(
    outputs: Outputs, paths: list[str], width: int, generator: torch.Generator
) -> nn.ModuleList:
    """Return one 1x1 convolution to ``width`` channels a stage, orthogonal at first."""
    found = []
    for path in paths:
        feature_nchw = outputs.features[path]
        weight_oi = torch.empty(width, feature_nchw.shape[1])
        nn.init.orthogonal_(weight_oi, generator=generator)
        found.append(pointwise(weight_oi.to(feature_nchw)))
    return nn.ModuleList(found)


def _project(projections: nn.ModuleList, outputs: Outputs, paths: list[str]) -> list[Tensor]:
    pairs = zip(projections, paths, strict=True)
    return [projection(outputs.features[path]) for projection, path in pairs]


def _apart(one_nchw: Tensor, other_nchw: Tensor) -> Tensor:
    one_nchw, other_nchw = same_size(one_nchw, other_nchw)
    return (one_nchw - other_nchw).square().mean()
