"""Learn where the teacher's classes meet: adversarial images as negatives (after AMKD, 2020).

Reconstructed from the abstract of AMKD, https://doi.org/10.1145/3442555.3442581: adversarial
samples near the boundary of two classes serve as negatives of a triplet loss. The steps to the
boundary follow what is known of Heo et al., AAAI 2019, https://arxiv.org/abs/1805.05532; the
formulas, the decay and the choice of positives are ours.

Suffixes: N images of the batch, M <= N of them attacked, K classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import (
    check_classes,
    check_not_negative,
    check_positive,
    choose,
    divergence,
)
from edgekd.distill.method import Align, Ask, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("amkd",)

_MOST_STEPS = 10
_STRIDE = 0.3  # share of the way to the boundary, if the teacher were linear
_BEYOND = 0.1  # logits: how far behind the boundary a step aims
_DECAYED = 0.75  # share of the stage after which the boundary's term is 0
_EPSILON = 1e-6


class Boundary(Method):
    """Match the teacher between two classes, and keep such images away from their class.

    The first quarter of the batch is moved towards the teacher's boundary between an image's class
    y and the strongest other class k. With l = z_y - z_k and g = dl/dx, up to 10 times:

        x <- x - 0.3 (l + 0.1) g / |g|^2, until l <= 0

    An image that the teacher gets wrong stays as it is. Pixels may leave their range. Then

    - boundary = boundary_weight * d * T^2 KL(teacher || student) on those images; d falls in
      proportion to the epochs from 1 to 0 at three quarters of the stage
    - boundary_triplet = triplet_weight * mean max(0, |e - e+|^2 - |e - e-|^2 + margin), where e is
      the student's last tapped feature, averaged over positions, as a unit vector; e- that of the
      moved image, e+ the farthest of the batch in the same class (e itself if there is no other)

    The images themselves are left to ``kd``. A step costs up to 10 passes of the teacher, forward
    and backward, on the images that are moved.

    Args:
        temperature: T, > 0, no unit.
        share: of the batch that is moved, in (0, 1].
        boundary_weight: >= 0.
        triplet_weight: >= 0.
        margin: >= 0, in squared distances of unit vectors (0 to 4).

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_features = True
    needs_labels = True
    works_cached = False
    perturbs = "for both"
    align: Align = "agnostic"

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        share: float = 0.25,
        boundary_weight: float = 2.0,
        triplet_weight: float = 0.1,
        margin: float = 0.2,
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], but is {share}")
        check_not_negative("boundary_weight", boundary_weight)
        check_not_negative("triplet_weight", triplet_weight)
        check_not_negative("margin", margin)
        self.temperature = temperature
        self.share = share
        self.boundary_weight = boundary_weight
        self.triplet_weight = triplet_weight
        self.margin = margin
        self._path = ""

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the feature that the triplets compare.

        Raises:
            UsageError: the student has no features.
        """
        del surgery
        check_classes("boundary", teacher.logits_nk, self.temperature)
        (self._path,) = choose("boundary", student, "last")

    def perturb(
        self,
        images_nchw: Tensor,
        labels_n: Tensor | None,
        teacher: Outputs,
        ask: Ask,
        step: Step,
    ) -> Tensor:
        """Return the first quarter of the images, moved to the teacher's boundaries."""
        del step
        assert labels_n is not None
        count = max(1, int(self.share * len(images_nchw)))
        labels_m = labels_n[:count]
        rivals_m = _rivals(teacher.logits_nk[:count], labels_m)
        moved_mchw = images_nchw[:count].detach()
        for _ in range(_MOST_STEPS):
            with torch.enable_grad():
                moved_mchw.requires_grad_()
                logits_mk = ask(moved_mchw).logits_nk
                lead_m = _pick(logits_mk, labels_m) - _pick(logits_mk, rivals_m)
                (gradient_mchw,) = torch.autograd.grad(lead_m.sum(), moved_mchw)
            lead_m, moved_mchw = lead_m.detach(), moved_mchw.detach()
            if not (lead_m > 0).any():
                break
            size_m = gradient_mchw.flatten(1).square().sum(1) + _EPSILON
            stride_m = torch.where(lead_m > 0, _STRIDE * (lead_m + _BEYOND) / size_m, 0)
            moved_mchw = moved_mchw - stride_m.view(-1, 1, 1, 1) * gradient_mchw
        return moved_mchw

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"boundary", "boundary_triplet"}."""
        assert labels_n is not None
        (mine,), (theirs,) = student.others, teacher.others
        apart = divergence(mine.logits_nk, theirs.logits_nk.detach(), self.temperature)
        decay = max(0.0, 1 - step.epoch / (_DECAYED * step.epochs))
        triplet = _triplet(self._embed(student), self._embed(mine), labels_n, self.margin)
        return {
            "boundary": self.boundary_weight * decay * apart,
            "boundary_triplet": self.triplet_weight * triplet,
        }

    def _embed(self, outputs: Outputs) -> Tensor:
        pooled_nc = outputs.features[self._path].mean(dim=(2, 3))
        return F.normalize(pooled_nc, dim=1, eps=_EPSILON)


def _rivals(logits_mk: Tensor, labels_m: Tensor) -> Tensor:
    """Return the strongest class but the labelled one."""
    return logits_mk.scatter(1, labels_m[:, None], -torch.inf).argmax(dim=1)


def _pick(logits_mk: Tensor, classes_m: Tensor) -> Tensor:
    return logits_mk.gather(1, classes_m[:, None]).squeeze(1)


def _triplet(unit_nc: Tensor, moved_mc: Tensor, labels_n: Tensor, margin: float) -> Tensor:
    """Return the mean over the M moved images; embeddings are unit vectors."""
    count = len(moved_mc)
    anchors_mc = unit_nc[:count]
    near_m = (anchors_mc - moved_mc).square().sum(dim=1)
    # |a - b|^2 = 2 - 2 ab for unit vectors
    apart_mn = 2 - 2 * anchors_mc @ unit_nc.T
    same_mn = labels_n[:count, None] == labels_n
    far_m = apart_mn.masked_fill(~same_mn, -torch.inf).amax(dim=1)
    return F.relu(far_m - near_m + margin).mean()
