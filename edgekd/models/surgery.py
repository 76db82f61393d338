"""Which channels of a network survive, and how to cut the others out.

All indices are those of the network as its name builds it, so surgeries of surgeries stay one flat
list and a pruned network can be compared with its teacher channel by channel.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.core.errors import CheckpointError

Indices = tuple[int, ...]


@dataclass(frozen=True)
class Kept:
    """The surviving channels of one module or bare parameter; None: all of them."""

    out: Indices | None = None
    into: Indices | None = None  # input channels


@dataclass(frozen=True)
class Surgery:
    """The surviving channels of a network.

    Args:
        kept: dotted name of a module with weights, or of a bare parameter -> its channels.
        outputs: dotted name of any module whose output lost channels -> the survivors; None: they
            could not be traced back to the unpruned network's.
    """

    kept: Mapping[str, Kept] = field(default_factory=dict)
    outputs: Mapping[str, Indices | None] = field(default_factory=dict)

    @classmethod
    def none(cls) -> "Surgery":
        """Return the surgery that removes nothing."""
        return cls()

    def kept_out(self, name: str) -> Indices | None:
        """Return the surviving output channels of module ``name``; None: all of them."""
        return self.kept.get(name, Kept()).out

    def kept_output(self, path: str) -> Indices | None:
        """Return which channels of the unpruned network the output of module ``path`` keeps.

        Args:
            path: dotted name of any module, such as a whole block: "layer2.0".

        Returns:
            One index per surviving channel, rising; None: all survive, or it is not known; the
            number of channels tells which.
        """
        return self.outputs.get(path, self.kept_out(path))

    def then(self, later: "Surgery") -> "Surgery":
        """Return the surgery that does this one and then ``later`` on its result."""
        kept = dict(self.kept)
        for name, part in later.kept.items():
            first = kept.get(name, Kept())
            kept[name] = Kept(_follow(first.out, part.out), _follow(first.into, part.into))
        outputs = dict(self.outputs)
        for path, indices in later.outputs.items():
            unknown = indices is None or (path in outputs and outputs[path] is None)
            outputs[path] = None if unknown else _follow(self.outputs.get(path), indices)
        return Surgery(kept, outputs)

    def to_json(self) -> str:
        """Return the surgery as JSON, names in order."""
        tree = {
            "schema_version": 1,
            "kept": {name: [part.out, part.into] for name, part in sorted(self.kept.items())},
            "outputs": dict(sorted(self.outputs.items())),
        }
        return json.dumps(tree, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Surgery":
        """Read a surgery.

        Raises:
            CheckpointError: it is not a surgery of schema 1.
        """
        try:
            tree = json.loads(text)
            if tree["schema_version"] != 1:
                raise CheckpointError(f"surgery of schema {tree['schema_version']}; expected 1")
            kept = {
                name: Kept(*(None if part is None else _checked(part) for part in parts))
                for name, parts in tree["kept"].items()
            }
            outputs = {
                path: None if part is None else _checked(part)
                for path, part in tree["outputs"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"this is not a surgery of schema 1: {error!r}") from error
        return cls(kept, outputs)


def replay(module: nn.Module, surgery: Surgery) -> None:
    """Cut the channels that did not survive out of ``module``, in place.

    Args:
        module: the unpruned network. Values, devices and ``requires_grad`` of what survives stay.
        surgery: what survives.

    Raises:
        CheckpointError: the surgery belongs to another network.
    """
    for name, kept in surgery.kept.items():
        parent_name, _, leaf = name.rpartition(".")
        try:
            parent = module.get_submodule(parent_name)
        except AttributeError as error:
            raise CheckpointError(f"the surgery cuts '{name}', which the network lacks") from error
        target = getattr(parent, leaf, None) if name else module
        try:
            if isinstance(target, nn.Parameter):
                _select(parent, leaf, kept.out, channel_axis(target))
            elif isinstance(target, nn.Module):
                _cut(target, kept)
            else:
                raise CheckpointError(f"the surgery cuts '{name}', which the network lacks")
        except (IndexError, ValueError) as error:
            raise CheckpointError(f"the surgery does not fit '{name}': {error}") from error


def channel_axis(parameter: Tensor) -> int:
    """Return the axis of a bare parameter that holds channels: the last one longer than 1."""
    return max((axis for axis, size in enumerate(parameter.shape) if size > 1), default=0)


def supports(module: object) -> bool:
    """Say whether ``replay`` can cut channels out of ``module``."""
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1
    if isinstance(module, _ConvTransposeNd):
        return module.groups == 1
    return isinstance(module, _ConvNd | nn.Linear | _NormBase | nn.PReLU | nn.Parameter)


def depthwise(module: object) -> bool:
    """Say whether ``module`` is a convolution of each channel on its own."""
    if not isinstance(module, _ConvNd) or module.groups == 1:
        return False
    return module.groups == module.in_channels == module.out_channels


def _cut(module: nn.Module, kept: Kept) -> None:
    if isinstance(module, _ConvNd):
        _cut_convolution(module, kept)
    elif isinstance(module, nn.Linear):
        _select(module, "weight", kept.out, 0)
        _select(module, "weight", kept.into, 1)
        _select(module, "bias", kept.out, 0)
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _NormBase):
        for name in ("weight", "bias", "running_mean", "running_var"):
            _select(module, name, kept.out, 0)
        module.num_features = _length(kept.out, module.num_features)
    elif isinstance(module, nn.LayerNorm) and supports(module):
        for name in ("weight", "bias"):
            _select(module, name, kept.out, 0)
        module.normalized_shape = (_length(kept.out, module.normalized_shape[0]),)
    elif isinstance(module, nn.PReLU):
        _select(module, "weight", kept.out, 0)
        module.num_parameters = module.weight.shape[0]
    else:
        raise ValueError(f"a {type(module).__name__} cannot be cut")


def _cut_convolution(module: _ConvNd, kept: Kept) -> None:
    into_axis = 0 if isinstance(module, _ConvTransposeNd) else 1
    if into_axis == 0 and module.groups > 1:
        raise ValueError("a grouped transposed convolution cannot be cut")
    if depthwise(module):
        if kept.out != kept.into:
            raise ValueError("a depthwise convolution keeps the same channels on both sides")
        _select(module, "weight", kept.out, 0)
        module.groups = _length(kept.out, module.groups)
    elif module.groups > 1:
        _cut_grouped(module, kept)
    else:
        _select(module, "weight", kept.out, 1 - into_axis)
        _select(module, "weight", kept.into, into_axis)
    _select(module, "bias", kept.out, 0)
    module.out_channels = _length(kept.out, module.out_channels)
    module.in_channels = _length(kept.into, module.in_channels)


def _cut_grouped(module: _ConvNd, kept: Kept) -> None:
    """Cut a grouped convolution: each group keeps as many channels as any other."""
    groups = module.groups
    rows = _by_group(kept.out, module.out_channels, groups)
    columns = _by_group(kept.into, module.in_channels, groups)
    width = module.in_channels // groups
    depth = module.out_channels // groups
    weight_oihw = module.weight.detach()
    pieces = [
        weight_oihw[torch.tensor(row) + group * depth][:, torch.tensor(column)]
        for group, (row, column) in enumerate(zip(rows, columns, strict=True))
    ]
    assert all(piece.shape[1] <= width for piece in pieces)
    _put(module, "weight", torch.cat(pieces))


def _by_group(indices: Indices | None, channels: int, groups: int) -> list[list[int]]:
    """Return for each group the positions that survive within it."""
    width = channels // groups
    parts: list[list[int]] = [[] for _ in range(groups)]
    for index in range(channels) if indices is None else indices:
        parts[index // width].append(index % width)
    if len({len(part) for part in parts}) > 1:
        raise ValueError("the groups of a convolution must keep equally many channels")
    return parts


def _select(module: nn.Module, name: str, indices: Indices | None, axis: int) -> None:
    """Keep ``indices`` of a parameter or buffer along ``axis``, if there is one."""
    tensor = getattr(module, name)
    if tensor is None or indices is None:
        return
    if indices[-1] >= tensor.shape[axis]:
        raise IndexError(f"channel {indices[-1]} of {tensor.shape[axis]}")
    chosen = torch.tensor(indices, device=tensor.device)
    _put(module, name, tensor.detach().index_select(axis, chosen))


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    old = getattr(module, name)
    if isinstance(old, nn.Parameter):
        setattr(module, name, nn.Parameter(tensor, requires_grad=old.requires_grad))
    else:
        setattr(module, name, tensor)


def _length(indices: Indices | None, otherwise: int) -> int:
    return otherwise if indices is None else len(indices)


def _follow(first: Indices | None, later: Indices | None) -> Indices | None:
    if first is None or later is None:
        return first if later is None else later
    return tuple(first[index] for index in later)


def _checked(indices: Sequence[Any]) -> Indices:
    numbers = bool(indices) and all(isinstance(index, int) for index in indices)
    if not numbers or list(indices) != sorted(set(indices)) or indices[0] < 0:
        raise ValueError(f"kept channels must be rising numbers from 0, found {indices!r:.60}")
    return tuple(indices)
