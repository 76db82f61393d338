"""Distance to the other filters: a channel that resembles the rest can be replaced by them."""

import torch
from torch import Tensor

from edgekd.prune.group import Criterion, Group, rows


class GeometricMedian(Criterion):
    """Sum of Euclidean distances from a filter to all others of its layer.

    Source: He et al., 2019, FPGM, https://arxiv.org/abs/1811.00250, equation 5.
    """

    def score(self, group: Group) -> Tensor:
        """Return [C], the mean over the layers that make the channels."""
        parts = []
        for member in group.members:
            weights_mn = rows(member) if member.side == "out" else None
            if weights_mn is not None:
                distances_m = torch.cdist(weights_mn, weights_mn).sum(1)
                parts.append(group.gather(distances_m, member))
        return torch.stack(parts).mean(0)
