"""Find out which channels of a network hang together. Torch-Pruning traces, through autograd.

Its graph is only read: what is removed, and how, is decided here, in the unpruned indices.
"""

import copy
import fnmatch
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgekd.core import extras
from edgekd.models.surgery import depthwise, supports
from edgekd.prune import tracing
from edgekd.prune.group import Group, Member, Side

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coupling:
    """A group and where its channels flow.

    Args:
        group: what can be removed.
        flows: dotted name of any module -> (its output's channels [M], the group's positions [M]),
            as far as tracing knows.
    """

    group: Group
    flows: dict[str, tuple[Tensor, Tensor]]


def trace(
    module: nn.Module, input_shape: tuple[int, int, int], *, interior: bool, keep: Sequence[str]
) -> list[Coupling]:
    """Return the groups of channels that can be removed.

    Left alone: the logits, layers that ``keep`` names, groups with a layer that cannot be cut, and,
    with ``interior``, all that a residual addition crosses.

    Args:
        module: is not changed.
        input_shape: C, H, W.
        interior: leave alone what a residual addition crosses.
        keep: globs of module names whose output channels are left alone.

    Raises:
        EnvironmentMissingError: Torch-Pruning is not installed.
        UsageError: the network returns something else than one tensor.
    """
    extras.require("torch_pruning", "train", "to prune")
    # Frozen weights would leave no trace in autograd, so a copy is traced.
    shadow = copy.deepcopy(module).requires_grad_(requires_grad=True)
    graph, paths = tracing.build(shadow, input_shape)
    parts: dict[str, nn.Module | nn.Parameter] = {
        **dict(module.named_parameters()),
        **dict(module.named_modules()),
    }
    order = {name: place for place, name in enumerate(parts)}
    found = []
    covered: defaultdict[str, set[int]] = defaultdict(set)
    roots = [layer for layer in graph.module2node if isinstance(layer, _ConvNd | nn.Linear)]
    for layer in roots:
        root = graph._module2name[layer]  # noqa: SLF001  no public way
        width = layer.out_channels if isinstance(layer, _ConvNd) else layer.out_features
        open_channels = [c for c in range(width) if c not in covered[root]]
        if not open_channels:
            continue
        pruner = graph.get_pruner_of_module(layer).prune_out_channels
        items = graph.get_pruning_group(layer, pruner, open_channels)
        reader = _Reader(graph, parts, open_channels, root)
        for item in items:
            reader.add(item)
        for member in reader.members:
            if member.side == "out":
                covered[member.name].update(member.channels_m.tolist())
        reason = reader.refusal(paths, keep, interior=interior)
        if reason is None:
            found.append(Coupling(reader.group(), reader.flows(paths)))
        elif reason:
            _LOG.warning("the channels of '%s' are left alone: %s", root, reason)
    return sorted(found, key=lambda coupling: order[coupling.group.root])


class _Reader:
    """Turns one group of Torch-Pruning's into ours."""

    def __init__(
        self,
        graph: Any,
        parts: dict[str, nn.Module | nn.Parameter],
        open_channels: list[int],
        root: str,
    ) -> None:
        self.graph = graph
        self.parts = parts
        self.root = root
        self.position = {channel: place for place, channel in enumerate(open_channels)}
        self.members: list[Member] = []
        self.problems: list[str] = []
        self.residual = False
        self.operations: dict[str, None] = {}
        self.nodes: list[tuple[Any, Tensor, Tensor]] = []

    def add(self, item: Any) -> None:
        """Read one (dependency, indices)."""
        node = item.dep.target
        channels_m = torch.tensor(item.idxs)
        positions_m = torch.tensor([self.position.get(index, -1) for index in item.root_idxs])
        if (positions_m < 0).any():
            self.problems.append(f"{node.name} mixes its channels with others'")
            return
        name = self._name(node)
        if name is None:
            self._operation(node)
            self.nodes.append((node, channels_m, positions_m))
            return
        part = self.parts[name]
        if isinstance(part, nn.PReLU) and part.num_parameters == 1:
            return
        if not supports(part):
            self.problems.append(f"a {type(part).__name__} ('{name}') cannot be cut")
        sides: tuple[Side, ...] = ("out",)
        if depthwise(part):
            sides = ("out", "into")
        elif isinstance(part, _ConvNd | nn.Linear) and self._is_input(item.dep.handler):
            sides = ("into",)
        if "out" in sides:
            self.nodes.append((node, channels_m, positions_m))
        self.members += [Member(name, part, side, channels_m, positions_m) for side in sides]

    def refusal(self, paths: dict[str, Any], keep: Sequence[str], *, interior: bool) -> str | None:
        """Say why the group is left alone; "": as was wished; None: it is not."""
        if any(node.grad_fn is paths[""] for node, _, _ in self.nodes) or (
            interior and self.residual
        ):
            return ""
        names = [member.name for member in self.members if member.side == "out"]
        if any(fnmatch.fnmatchcase(name, glob) for name in names for glob in keep):
            return ""
        if self.problems:
            return "; ".join(self.problems)
        return None if self._cells() is not None else "grouped convolutions divide them unequally"

    def group(self) -> Group:
        """Return the group."""
        cells_c = self._cells()
        assert cells_c is not None
        operations = tuple(self.operations)
        channels = len(self.position)
        return Group(self.root, channels, tuple(self.members), cells_c, self.residual, operations)

    def flows(self, paths: dict[str, Any]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return which channels of each module's output belong to the group."""
        at = {id(node.grad_fn): (channels, places) for node, channels, places in self.nodes}
        return {name: at[id(step)] for name, step in paths.items() if id(step) in at}

    def _cells(self) -> Tensor | None:
        """Divide the channels so that grouped convolutions stay even; None: impossible."""
        labels_c = torch.zeros(len(self.position), dtype=torch.int64)
        for member in self.members:
            part = member.part
            if not isinstance(part, _ConvNd) or part.groups == 1 or depthwise(part):
                continue
            width = part.out_channels if member.side == "out" else part.in_channels
            if len(member.channels_m) != width or len(set(member.positions_m.tolist())) != width:
                return None
            block_m = member.channels_m // (width // part.groups)
            block_c = torch.empty_like(labels_c)
            block_c[member.positions_m] = block_m
            labels_c = labels_c * part.groups + block_c
        _, cells_c, sizes = torch.unique(labels_c, return_inverse=True, return_counts=True)
        return cells_c if len(set(sizes.tolist())) == 1 else None

    def _name(self, node: Any) -> str | None:
        if isinstance(node.module, nn.Parameter):
            name = self.graph._param_to_name[node.module]  # noqa: SLF001
        else:
            name = self.graph._module2name.get(node.module)  # noqa: SLF001
        return name if name in self.parts else None

    def _operation(self, node: Any) -> None:
        label = type(node.module).__name__.strip("_")
        step = node.grad_fn.name() if hasattr(node.grad_fn, "name") else label
        # One operand: a constant is added, as in hard swish.
        self.residual |= step.startswith(("Add", "Sub")) and len(set(map(id, node.inputs))) > 1
        self.operations[step.removesuffix("0").removesuffix("Backward")] = None

    def _is_input(self, handler: Any) -> bool:
        return bool(self.graph.is_in_channel_pruning_fn(handler))
