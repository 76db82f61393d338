"""Attention transfer: Zagoruyko and Komodakis, 2017, https://arxiv.org/abs/1612.03928.

The formula is that of megvii-research/mdistiller, distillers/AT.py, which follows the authors' own.
"""

from torch import Tensor

from edgekd.distill.compare import attention, same_size
from edgekd.distill.layered import Layered

EVIDENCE = "code"


class AT(Layered):
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

    term = "at"

    def apart(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Return the mean squared difference of the two attentions."""
        mine_np, theirs_np = map(attention, same_size(student_nchw, teacher_nchw))
        return (mine_np - theirs_np).square().mean()
