"""From channels that go to a surgery, and which groups may be cut at all."""

import logging
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from edgekd.models.surgery import Kept, Surgery, channel_axis
from edgekd.prune import equivalence
from edgekd.prune.graph import Coupling
from edgekd.prune.group import Group, Member

_LOG = logging.getLogger(__name__)


def sound(
    module: nn.Module, input_shape: tuple[int, int, int], couplings: Sequence[Coupling]
) -> list[Coupling]:
    """Return the groups of which channels can be removed; a warning names the others.

    Half of the channels of each group are removed from a copy, and the copy is tried out.
    """
    divisible = [one for one in couplings if one.group.channels > one.group.cells]
    accepted = [one for one in divisible if not _mixes(one.group)]
    if _fault(module, input_shape, accepted) is not None:
        accepted = _one_by_one(module, input_shape, accepted)
    for one in divisible:
        # Nothing to compare the values with, but shapes must fit.
        if _mixes(one.group) and _fault(module, input_shape, [one]) is None:
            accepted.append(one)
    return [one for one in divisible if any(one is other for other in accepted)]


def least(group: Group, score_c: Tensor, kept: int) -> Tensor:
    """Return [C] booleans: what goes, so that ``kept`` stay, equally many in each cell."""
    gone_c = torch.zeros(group.channels, dtype=torch.bool)
    for cell in range(group.cells):
        inside = (group.cells_c == cell).nonzero().flatten()
        order = inside[score_c[inside].argsort(stable=True)]
        gone_c[order[: len(inside) - kept // group.cells]] = True
    return gone_c


def surgery(groups: Sequence[Group], gone: Sequence[Tensor]) -> Surgery:
    """Return the surgery that removes the channels ``gone`` ([C] booleans for each group)."""
    lost: defaultdict[str, dict[str, set[int]]] = defaultdict(dict)
    widths: dict[tuple[str, str], int] = {}
    for group, gone_c in zip(groups, gone, strict=True):
        for member in group.members:
            channels = member.channels_m[gone_c[member.positions_m]].tolist()
            if channels:
                lost[member.name].setdefault(member.side, set()).update(channels)
                widths[member.name, member.side] = _width(member)
    kept = {}
    for name, sides in lost.items():
        parts = {
            side: tuple(c for c in range(widths[name, side]) if c not in channels)
            for side, channels in sides.items()
        }
        kept[name] = Kept(parts.get("out"), parts.get("into"))
    return Surgery(kept)


def lost_outputs(couplings: Sequence[Coupling], gone: Sequence[Tensor]) -> dict[str, set[int]]:
    """Return dotted name of any module -> channels that its output loses, by tracing."""
    lost: defaultdict[str, set[int]] = defaultdict(set)
    for coupling, gone_c in zip(couplings, gone, strict=True):
        for name, (channels_m, positions_m) in coupling.flows.items():
            lost[name].update(channels_m[gone_c[positions_m]].tolist())
    return lost


def _one_by_one(
    module: nn.Module, input_shape: tuple[int, int, int], couplings: Sequence[Coupling]
) -> list[Coupling]:
    accepted: list[Coupling] = []
    refused: list[str] = []
    for one in couplings:
        fault = _fault(module, input_shape, [*accepted, one])
        if fault is None:
            accepted.append(one)
        else:
            behind = ", ".join(one.group.operations) or "no operation"
            refused.append(f"'{one.group.root}' (behind {behind}): {fault}")
    # One warning, for such layers come in dozens.
    _LOG.warning(
        "%d of %d groups of channels are left alone, because the network breaks without part of "
        "them: %s",
        len(refused),
        len(couplings),
        "; ".join(refused),
    )
    return accepted


def _fault(
    module: nn.Module, input_shape: tuple[int, int, int], couplings: Sequence[Coupling]
) -> str | None:
    groups = [one.group for one in couplings]
    generator = torch.Generator().manual_seed(0)
    gone = []
    for group in groups:
        score_c = torch.rand(group.channels, generator=generator)
        half = group.channels // group.cells // 2 * group.cells
        gone.append(least(group, score_c, max(half, group.cells)))
    compare = not any(_mixes(group) for group in groups)
    return equivalence.fault(module, surgery(groups, gone), input_shape, compare=compare)


def _mixes(group: Group) -> bool:
    return any(equivalence.mixes_channels(member.part) for member in group.members)


def _width(member: Member) -> int:
    """Return how many channels a member's side has."""
    part = member.part
    if isinstance(part, nn.Parameter):
        return part.shape[channel_axis(part)]
    if isinstance(part, _ConvNd):
        return part.out_channels if member.side == "out" else part.in_channels
    if isinstance(part, nn.Linear):
        return part.out_features if member.side == "out" else part.in_features
    if isinstance(part, _NormBase):
        return part.num_features
    if isinstance(part, nn.PReLU):
        return part.num_parameters
    assert isinstance(part, nn.LayerNorm)
    return part.normalized_shape[0]
