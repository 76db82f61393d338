"""The teacher looks closer: at the part of an image that holds its attention (after DATS, 2025).

Reconstructed from the abstract of DATS, ACM JDIQ 2025, https://doi.org/10.1145/3721984: attention
maps make images that preserve detail, for the teacher, and images that preserve structure, for the
student. How the part is found and cut out is not to be read there, so the formulas are ours.

Suffixes: N images, H x W pixels, h x w positions of the feature.
"""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.distill.compare import check_classes, check_positive, choose, divergence
from edgekd.distill.method import Align, Ask, Method, Outputs, Step
from edgekd.models.surgery import Surgery

EVIDENCE = "abstract"
ALIASES = ("dats",)

_LEAST_PIXELS = 64  # a part of a smaller image has nothing more to show


class AttentionCrop(Method):
    """Match what the teacher says about a close look, while the student sees the whole image.

    attention_crop = T^2 * mean over images of KL(teacher(crop) || student(whole)), as in ``kd``

    With A = mean over channels of F^2 of the teacher's last tapped feature, the crop is the
    smallest box around all positions where A is at least ``threshold`` times its largest value,
    stretched to the size of the image by bilinear interpolation. The images must have 64 pixels or
    more on each side.

    Args:
        temperature: T, > 0, no unit.
        threshold: in (0, 1]; as a share of the largest A.

    Raises:
        ValueError: an argument is outside its range.
    """

    needs_features = True
    works_cached = False
    perturbs = "for teacher"
    align: Align = "agnostic"

    def __init__(self, *, temperature: float = 4.0, threshold: float = 0.5) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], but is {threshold}")
        self.temperature = temperature
        self.threshold = threshold
        self._path = ""

    def prepare(self, student: Outputs, teacher: Outputs, surgery: Surgery) -> None:
        """Choose the feature that tells where the teacher looks.

        Raises:
            UsageError: there is none, or it has a single position.
        """
        del surgery
        check_classes("attention_crop", teacher.logits_nk, self.temperature)
        (self._path,) = choose("attention_crop", student, "last")
        if teacher.features[self._path][0, 0].numel() == 1:
            raise UsageError(
                f"attention_crop: the teacher's feature '{self._path}' has a single position and "
                "cannot tell where it looks. Use method 'kd'"
            )

    def perturb(
        self,
        images_nchw: Tensor,
        labels_n: Tensor | None,
        teacher: Outputs,
        ask: Ask,
        step: Step,
    ) -> Tensor:
        """Return the part of each image that holds the teacher's attention, stretched.

        Raises:
            UsageError: the images are too small.
        """
        del labels_n, ask, step
        height, width = images_nchw.shape[2:]
        if min(height, width) < _LEAST_PIXELS:
            raise UsageError(
                f"attention_crop needs images of {_LEAST_PIXELS} pixels or more on each side, "
                f"found {height}x{width}. Use method 'kd'"
            )
        box_n4 = boxes(teacher.features[self._path].detach(), self.threshold)
        return stretch(images_nchw.detach(), box_n4)

    def forward(
        self, student: Outputs, teacher: Outputs, labels_n: Tensor | None, step: Step
    ) -> dict[str, Tensor]:
        """Return {"attention_crop"}."""
        del labels_n, step
        (closer,) = teacher.others
        target_nk = closer.logits_nk.detach()
        return {"attention_crop": divergence(student.logits_nk, target_nk, self.temperature)}


def boxes(feature_nchw: Tensor, threshold: float) -> Tensor:
    """Return left, top, right and bottom [N, 4] of what is salient, as shares of the image's."""
    energy_nhw = feature_nchw.square().mean(dim=1)
    salient_nhw = energy_nhw >= threshold * energy_nhw.amax(dim=(1, 2), keepdim=True)
    left_n, right_n = _ends(salient_nhw.any(dim=1))
    top_n, bottom_n = _ends(salient_nhw.any(dim=2))
    return torch.stack([left_n, top_n, right_n, bottom_n], dim=1)


def _ends(inside_ns: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the first true entry begins and the last one ends, as shares of the length."""
    length = inside_ns.shape[1]
    ones = inside_ns.to(torch.uint8)  # argmax returns the first of the largest
    first_n = ones.argmax(dim=1)
    last_n = length - ones.flip(1).argmax(dim=1)
    return first_n / length, last_n / length


def stretch(images_nchw: Tensor, box_n4: Tensor) -> Tensor:
    """Stretch each image's box to the whole, by bilinear interpolation."""
    left_n, top_n, right_n, bottom_n = box_n4.to(images_nchw.dtype).unbind(1)
    nothing_n = torch.zeros_like(left_n)
    # From [-1, 1] over the result to the box in [-1, 1] over the image.
    theta_n23 = torch.stack(
        [
            torch.stack([right_n - left_n, nothing_n, right_n + left_n - 1], dim=1),
            torch.stack([nothing_n, bottom_n - top_n, bottom_n + top_n - 1], dim=1),
        ],
        dim=1,
    )
    grid_nhw2 = F.affine_grid(theta_n23, list(images_nchw.shape), align_corners=False)
    return F.grid_sample(images_nchw, grid_nhw2, padding_mode="border", align_corners=False)
