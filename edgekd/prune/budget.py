"""How many channels each group keeps, so that a share of the MACs is left."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.core.errors import UsageError
from edgekd.core.specs import Prune
from edgekd.models.score import evaluating
from edgekd.models.surgery import depthwise
from edgekd.prune.group import Group

TOLERANCE = 0.02  # the reached share of MACs may differ by so much from the asked one


@dataclass(frozen=True)
class Layer:
    """What the MACs of a layer are made of: positions * outputs * inputs."""

    per_pair: float  # MACs of one output channel for one input channel
    outputs: int
    inputs: int
    depthwise: bool


@dataclass(frozen=True)
class Candidate:
    """A group that may lose channels."""

    group: Group
    score_c: Tensor  # [C], on the CPU
    width: int  # channels before any round: what ``max_ratio`` refers to


class Cost:
    """The MACs of a network as a function of how many channels each group keeps."""

    def __init__(self, layers: Mapping[str, Layer], groups: Sequence[Group]) -> None:
        self._layers = layers
        self._sizes = [group.channels for group in groups]
        # layer, side -> [(group, the layer's channels for one of the group's)]
        self._shares: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for place, group in enumerate(groups):
            for member in group.members:
                share = len(member.channels_m) / group.channels
                self._shares.setdefault((member.name, member.side), []).append((place, share))

    def macs(self, kept: Sequence[int]) -> float:
        """Return the MACs when group g keeps ``kept[g]`` channels."""
        total = 0.0
        for name, layer in self._layers.items():
            outputs = layer.outputs - self._lost(name, "out", kept)
            inputs = 1 if layer.depthwise else layer.inputs - self._lost(name, "into", kept)
            total += layer.per_pair * outputs * inputs
        return total

    def _lost(self, name: str, side: str, kept: Sequence[int]) -> float:
        shares = self._shares.get((name, side), ())
        return sum(share * (self._sizes[place] - kept[place]) for place, share in shares)


def layers(module: nn.Module, input_shape: tuple[int, int, int]) -> dict[str, Layer]:
    """Return the convolutions and linear layers of a network, as one image passes through."""
    found: dict[str, Layer] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            before = found.get(name)
            layer = _layer(part, inputs[0], output)
            more = 0.0 if before is None else before.per_pair  # a layer may be used twice
            found[name] = Layer(layer.per_pair + more, layer.outputs, layer.inputs, layer.depthwise)

        return hook

    hooks = [
        part.register_forward_hook(note(name))
        for name, part in module.named_modules()
        if isinstance(part, _ConvNd | nn.Linear)
    ]
    first = next(module.parameters())
    with evaluating(module), torch.no_grad():
        module(torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype))
    for hook in hooks:
        hook.remove()
    return found


def _layer(part: nn.Module, inputs: Tensor, output: Tensor) -> Layer:
    if isinstance(part, nn.Linear):
        positions = output.shape[1:-1].numel()
        return Layer(positions, part.out_features, part.in_features, depthwise=False)
    assert isinstance(part, _ConvNd)
    positions = (inputs if isinstance(part, _ConvTransposeNd) else output).shape[2:].numel()
    per_pair = positions * math.prod(part.kernel_size)
    if depthwise(part):
        return Layer(per_pair, part.out_channels, 1, depthwise=True)
    return Layer(per_pair / part.groups, part.out_channels, part.in_channels, depthwise=False)


def allot(
    cost: Cost, candidates: Sequence[Candidate], spec: Prune, *, goal: float, whole: float
) -> list[int]:
    """Return how many channels each group keeps.

    One number t in [0, 1] decides for all groups and is found by bisection: with
    ``spread = "uniform"`` the share of channels that goes, with "global" the rank below which a
    channel goes. Where rounding leaves the MACs too far from the goal, the groups whose next
    channels score least are stepped down one by one.

    Args:
        cost: of the network.
        candidates: the groups.
        spec: round_to, max_ratio and spread.
        goal: MACs to be left.
        whole: MACs before any round.

    Raises:
        UsageError: the goal is out of reach; the least reachable share is named.
    """
    ladders = [_allowed(each, spec) for each in candidates]
    least = cost.macs([ladder[0] for ladder in ladders])
    if least > goal + TOLERANCE * whole:
        raise UsageError(
            f"{spec.macs:.3f} of the MACs are to be left, but no fewer than {least / whole:.3f} "
            "can be. Ask for that, or allow more: max_ratio, round_to, keep, scope = 'all'"
        )
    ranks = _ranks([each.score_c for each in candidates], spec)

    def keep(share: float) -> list[int]:
        return [
            _nearest(float((rank_c >= share).sum()), ladder)
            for rank_c, ladder in zip(ranks, ladders, strict=True)
        ]

    def miss(kept: list[int]) -> float:
        return abs(cost.macs(kept) - goal)

    low, high = 0.0, 1.0 + 1e-6
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if cost.macs(keep(middle)) <= goal else (middle, high)
    above, below = keep(low), keep(high)
    best = min(above, below, key=miss)
    slack = TOLERANCE * whole / 2
    if miss(best) <= slack:
        return best
    scores = [each.score_c for each in candidates]
    return min(_step_down(cost, above, ladders, scores, (goal, slack)), best, key=miss)


def _allowed(candidate: Candidate, spec: Prune) -> list[int]:
    """Return the numbers of channels that the group may keep, rising to the present one."""
    group = candidate.group
    step = math.lcm(spec.round_to, group.cells)
    least = max(1, math.ceil((1 - spec.max_ratio) * candidate.width - 1e-9))
    return [*range(math.ceil(least / step) * step, group.channels, step), group.channels]


def _nearest(wanted: float, ladder: list[int]) -> int:
    return min(ladder, key=lambda kept: (abs(kept - wanted), -kept))


def _ranks(scores: Sequence[Tensor], spec: Prune) -> list[Tensor]:
    """Return for each channel, in [0, 1), how many go before it: of its group, or of all."""
    if spec.spread == "uniform":
        return [_rank(score_c) for score_c in scores]
    # Each group's mean is 1, for layers of different fan-in have weights of different size.
    every = torch.cat([_scaled(score_c) for score_c in scores])
    return list(torch.split(_rank(every), [len(score_c) for score_c in scores]))


def _scaled(score_c: Tensor) -> Tensor:
    return score_c / score_c.mean().clamp_min(torch.finfo(score_c.dtype).tiny)


def _rank(values_n: Tensor) -> Tensor:
    order = values_n.argsort(stable=True)
    rank_n = torch.empty(len(values_n), dtype=torch.float64)
    rank_n[order.cpu()] = torch.arange(len(values_n), dtype=torch.float64) / len(values_n)
    return rank_n


def _step_down(
    cost: Cost,
    kept: list[int],
    ladders: Sequence[list[int]],
    scores: Sequence[Tensor],
    aim: tuple[float, float],
) -> list[int]:
    """Lower one group after the other to its next allowed number; ``aim``: MACs and slack."""
    goal, slack = aim
    ordered = [_scaled(score_c).sort().values for score_c in scores]
    while cost.macs(kept) > goal:
        steps = []
        for place, ladder in enumerate(ladders):
            rung = ladder.index(kept[place])
            if rung == 0:
                continue
            lower = [*kept[:place], ladder[rung - 1], *kept[place + 1 :]]
            if cost.macs(lower) >= goal - slack:
                gone = len(ordered[place]) - kept[place]
                more = kept[place] - ladder[rung - 1]
                steps.append((float(ordered[place][gone : gone + more].mean()), lower))
        if not steps:
            break
        _, kept = min(steps)
    return kept
