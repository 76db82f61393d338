"""Relational knowledge distillation: Park et al., 2019, https://arxiv.org/abs/1904.05068.

The formulas are those of megvii-research/mdistiller, distillers/RKD.py.
"""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import check_not_negative, choose
from edgekd.distill.method import Align, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "code"

_COINCIDE = 1e-12  # squared distance up to which two embeddings count as one


class RKD(Method):
    """Keep the distances between images, and the angles in triples of them.

    With e the last tapped feature, averaged over positions, and h the smooth L1 distance:

    - rkd = a * mean over pairs of h(d_S, d_T), d = ||e_i - e_j|| / its mean over pairs
    - rkd_angle = b * mean over triples of h(cos_S, cos_T), the cosine of the angle at j between
      e_i - e_j and e_k - e_j

    Widths need not match: distances and angles are numbers. Scale does not matter. Where
    two embeddings coincide, which has no direction, distance and cosine are 0 and give no
    gradient, and the pair does not count in the mean distance (the published code counts it, with
    a distance of 1e-6, and its gradient is then huge). Time and memory grow as N^3 for the angles.

    Args:
        distance: a, >= 0.
        angle: b, >= 0; 0 leaves the angles out.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_features = True
    works_cached = False
    align: Align = "agnostic"

    def __init__(self, *, distance: float = 25.0, angle: float = 50.0) -> None:
        super().__init__()
        check_not_negative("distance", distance)
        check_not_negative("angle", angle)
        self.distance = distance
        self.angle = angle
        self._path = ""

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Find the last feature.

        Raises:
            UsageError: there are no features.
        """
        del teacher, surgery
        (self._path,) = choose("rkd", student, "last")

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"rkd", "rkd_angle"}."""
        del labels_n, step
        mine_nn, mine_nnc = _relations(student.features[self._path])
        theirs_nn, theirs_nnc = _relations(teacher.features[self._path].detach())
        terms = {"rkd": self.distance * F.smooth_l1_loss(mine_nn, theirs_nn)}
        if self.angle > 0:
            mine_nnn, theirs_nnn = mine_nnc @ mine_nnc.mT, theirs_nnc @ theirs_nnc.mT
            terms["rkd_angle"] = self.angle * F.smooth_l1_loss(mine_nnn, theirs_nnn)
        return terms


def _relations(map_nchw: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances over their mean [N, N], and the unit vectors from each to each [N, N, C]."""
    embedding_nc = map_nchw.mean(dim=(2, 3))
    apart_nnc = embedding_nc[None] - embedding_nc[:, None]
    squared_nn = apart_nnc.square().sum(dim=2)
    differ_nn = squared_nn > _COINCIDE
    # A root at 0 has no slope: take it of 1 there, and put the 0 in afterwards.
    safe_nn = torch.where(differ_nn, squared_nn, 1.0).sqrt()
    distance_nn = torch.where(differ_nn, safe_nn, 0.0)
    mean = distance_nn.sum() / differ_nn.sum().clamp(min=1)
    mean = torch.where(differ_nn.any(), mean, 1.0)
    unit_nnc = torch.where(differ_nn[..., None], apart_nnc / safe_nn[..., None], 0.0)
    return distance_nn / mean, unit_nnc
