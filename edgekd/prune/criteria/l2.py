"""Mean L2 norm of the weights that make and read a channel."""

from torch import Tensor

from edgekd.prune.group import Criterion, Group, magnitude


class L2(Criterion):
    """Euclidean length of the weights; over coupled layers as in https://arxiv.org/abs/2301.12900."""

    def score(self, group: Group) -> Tensor:
        """Return [C]."""
        return magnitude(group, 2)
