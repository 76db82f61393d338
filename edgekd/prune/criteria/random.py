"""Random scores: the control that every other criterion must beat."""

import torch
from torch import Tensor

from edgekd.prune.group import Criterion, Group


class Random(Criterion):
    """Uniform in [0, 1); the same for the same seed and network.

    Args:
        seed: of the draw.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def score(self, group: Group) -> Tensor:
        """Return [C]."""
        return torch.rand(group.channels, generator=self._generator)
