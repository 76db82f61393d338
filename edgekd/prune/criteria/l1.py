"""Mean L1 norm of the weights that make and read a channel."""

from torch import Tensor

from edgekd.prune.group import Criterion, Group, magnitude


class L1(Criterion):
    """Sum of absolute weights.

    Source: Li et al., 2017, https://arxiv.org/abs/1608.08710; over coupled layers as in
    Fang et al., 2023, https://arxiv.org/abs/2301.12900.
    """

    def score(self, group: Group) -> Tensor:
        """Return [C]."""
        return magnitude(group, 1)
