"""Attention transfer from a smoothed teacher, in the spirit of PURF (2024).

Of PURF (Applied Soft Computing 159:111579) the title alone was at hand: "improving teacher
representations by imposing smoothness constraints". The filter and the loss are ours.
"""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import Layers, attention, check_positive, same_size
from edgekd.distill.layered import Layered

EVIDENCE = "title"
ALIASES = ("purf",)


class SmoothedTeacher(Layered):
    """Match where the energy lies once fine detail is taken out of the teacher's maps.

    smoothed_teacher = sum over layers of mean over images of ||A(F_S) - A(G * F_T)||^2, with
    A = m / ||m||_2, m = mean over channels of F^2, and G a Gaussian of 3x3 positions, edges
    repeated

    Energy, not channels, is compared, so a pruned student, and one of any width, can learn; the
    larger one of two maps is averaged down first. As sigma goes to 0 the filter vanishes and each
    layer gives what `at` does, times its number of positions. A student that equals its
    teacher keeps a loss: that of the detail.

    Args:
        sigma: of the Gaussian, > 0, in positions.
        layers: "stages" (the last map of each size), "last" or "all".

    Raises:
        ValueError: an argument is outside its range.
    """

    term = "smoothed_teacher"

    def __init__(self, *, sigma: float = 0.8, layers: Layers = "stages") -> None:
        super().__init__(layers=layers)
        check_positive("sigma", sigma)
        self.sigma = sigma

    def apart(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Return the squared distance of the two attentions, averaged over the images."""
        pair = same_size(student_nchw, smooth(teacher_nchw, self.sigma))
        mine_np, theirs_np = map(attention, pair)
        return (mine_np - theirs_np).square().sum(dim=1).mean()


def smooth(map_nchw: Tensor, sigma: float) -> Tensor:
    """Return the map after a Gaussian of 3x3 positions; what is constant stays as it is."""
    beside_33 = torch.tensor([[2.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 2.0]])  # distance^2
    weight_33 = torch.exp(-beside_33.double() / (2 * sigma**2))
    weight_33 = (weight_33 / weight_33.sum()).to(map_nchw)
    channels = map_nchw.shape[1]
    padded_nchw = F.pad(map_nchw, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded_nchw, weight_33.expand(channels, 1, 3, 3), groups=channels)
