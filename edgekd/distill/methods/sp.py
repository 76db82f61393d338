"""Similarity-preserving distillation: Tung and Mori, 2019, https://arxiv.org/abs/1907.09682.

The formula is that of megvii-research/mdistiller, distillers/SP.py.
"""

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from edgekd.distill.compare import Layers
from edgekd.distill.layered import Layered

EVIDENCE = "code"


class SP(Layered):
    """Find those images alike that the teacher finds alike.

    sp = sum over layers of ||G_S - G_T||^2 / N^2, with G = Q Q^T for Q = [N, C * H * W], each row
    of G divided by its L2 norm

    Neither channels nor positions need to match. Rows are normalised over the batch, so the loss
    shrinks as 1 / N; the published weight of this term is 3000 for batches of 64. A batch of one
    image teaches nothing.

    Args:
        layers: "last" (as in that code), "stages" (the last map of each size) or "all".

    Raises:
        ValueError: ``layers`` is something else.
    """

    term = "sp"

    def __init__(self, *, layers: Layers = "last") -> None:
        super().__init__(layers=layers)

    def apart(self, student_nchw: Tensor, teacher_nchw: Tensor) -> Tensor:
        """Return the mean squared difference of the two similarities."""
        return (_similarity(student_nchw) - _similarity(teacher_nchw)).square().mean()


def _similarity(map_nchw: Tensor) -> Tensor:
    """Return how alike the images are, [N, N], each row of length 1."""
    flat_nd = map_nchw.flatten(1)
    return F.normalize(flat_nd @ flat_nd.T, dim=1)
