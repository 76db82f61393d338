"""Channels that can only be removed together, and what decides which of them go."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Side = Literal["out", "into"]


@dataclass(frozen=True)
class Member:
    """One side of a module (or a bare parameter) whose channels hang together with the group's."""

    name: str  # dotted
    part: nn.Module | nn.Parameter
    side: Side
    channels_m: Tensor  # int64: which of its channels
    positions_m: Tensor  # int64: to which of the group's C channels each belongs


@dataclass(frozen=True)
class Group:
    """C channels; channel c of the group stands for every member's channels at position c.

    Args:
        root: name of the layer whose output channels they are.
        channels: C.
        members: layers with weights, including those that read the channels.
        cells_c: [C] int64, cell of each channel: every cell must lose equally many channels,
            because a grouped convolution needs groups of one size. All 0 without one.
        residual: a residual addition crosses the channels.
        operations: names of the other operations in between, for messages.
    """

    root: str
    channels: int
    members: tuple[Member, ...]
    cells_c: Tensor
    residual: bool
    operations: tuple[str, ...]

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return int(self.cells_c.max()) + 1

    def gather(self, values_m: Tensor, member: Member) -> Tensor:
        """Sum values of a member's channels into the group's: [M] -> [C]."""
        result_c = values_m.new_zeros(self.channels)
        return result_c.index_add_(0, member.positions_m.to(values_m.device), values_m)


class Criterion(ABC):
    """Says how important each channel of a group is; one file in ``criteria/``."""

    @abstractmethod
    def score(self, group: Group) -> Tensor:
        """Return [C] scores >= 0, small = unimportant; compared within the group, or over all.

        Over all groups ("global") each group's scores are divided by their mean first.
        """


def rows(member: Member) -> Tensor | None:
    """Return the weights of each of a member's channels, [M, n]; None: it has none to judge.

    Only convolutions and linear layers are judged here; constants of the architecture are not.
    """
    part = member.part
    if not isinstance(part, nn.modules.conv._ConvNd | nn.Linear):  # noqa: SLF001  no public name
        return None
    if not isinstance(part.weight, nn.Parameter):
        return None
    weight = part.weight.detach()
    outputs_first = not getattr(part, "transposed", False)
    if member.side == "into" and getattr(part, "groups", 1) > 1:
        weight = _spread(weight, part)
    elif (member.side == "out") != outputs_first:
        weight = weight.transpose(0, 1)
    return weight.flatten(1)[member.channels_m.to(weight.device)]


def _spread(weight_oihw: Tensor, part: nn.Module) -> Tensor:
    """Return what each input channel of a grouped convolution is multiplied by: [I, ...]."""
    groups = getattr(part, "groups", 1)
    outputs, width = weight_oihw.shape[:2]
    grouped = weight_oihw.reshape(groups, outputs // groups, width, -1).transpose(1, 2)
    return grouped.reshape(groups * width, -1)


def normalisation_scale(group: Group) -> Tensor | None:
    """Return [C] sums of |gamma| over the group's batch normalisations; None: it has none."""
    total_c: Tensor | None = None
    for member in group.members:
        part = member.part
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:  # noqa: SLF001
            scale_m = part.weight.detach().abs()[member.channels_m.to(part.weight.device)]
            scale_c = group.gather(scale_m, member)
            total_c = scale_c if total_c is None else total_c + scale_c
    return total_c


def magnitude(group: Group, power: int) -> Tensor:
    """Return [C] mean over the layers that make or read a channel of its weights' norm.

    Each layer's norms are divided by their mean, so that none drowns the others.

    Args:
        group: with at least one convolution or linear layer.
        power: 1 or 2, of the norm.
    """
    parts = []
    for member in group.members:
        weights_mn = rows(member)
        if weights_mn is not None:
            norms_c = group.gather(weights_mn.abs().pow(power).sum(1), member).pow(1 / power)
            parts.append(norms_c / norms_c.mean().clamp_min(torch.finfo(norms_c.dtype).tiny))
    return torch.stack(parts).mean(0)
