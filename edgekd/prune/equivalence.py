"""Prove that what is cut out of a network is what the rest no longer reads.

Cutting the wrong channels leaves shapes that fit and a network that is quietly broken (behind a
channel shuffle, say). So each cut is compared with the uncut network in which the layers that read
the removed channels have zero weights there: the two must agree.
"""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.core.errors import CheckpointError
from edgekd.models.surgery import Surgery, depthwise, replay

# Both networks compute in FP64: true differences are of the order of the outputs.
_RELATIVE = 1e-6
_IMAGES = 2


def mixes_channels(part: object) -> bool:
    """Say whether a layer's output depends on how many channels there are: nothing to compare."""
    return isinstance(part, nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm)


def fault(
    module: nn.Module, surgery: Surgery, input_shape: tuple[int, int, int], *, compare: bool = True
) -> str | None:
    """Try out a cut.

    Args:
        module: the uncut network; is not changed.
        surgery: the cut.
        input_shape: C, H, W.
        compare: also the values; False where layers that mix channels are cut.

    Returns:
        What is wrong, or None.
    """
    masked, cut = _twins(module)
    _mask(masked, surgery)
    try:
        replay(cut, surgery)
        image_nchw = _images(masked, input_shape)
        expected, found = masked(image_nchw), cut(image_nchw)
    except (CheckpointError, RuntimeError, ValueError, IndexError) as error:
        return str(error).partition("\n")[0]
    if expected.shape != found.shape:
        return f"the output becomes {list(found.shape)} instead of {list(expected.shape)}"
    if compare and not _agree(expected, found):
        return "the layers that read them read other channels"
    return None


def traced_outputs(
    module: nn.Module,
    surgery: Surgery,
    input_shape: tuple[int, int, int],
    gone: Mapping[str, set[int]],
) -> dict[str, tuple[int, ...] | None]:
    """Return which channels of each module's output survive, for those that lose some.

    Args:
        module: the uncut network; is not changed.
        surgery: the cut.
        input_shape: C, H, W.
        gone: dotted name -> channels that its output has lost, by tracing.

    Returns:
        Dotted name -> channels that survive; None where the features do not confirm the tracing.
    """
    masked, cut = _twins(module)
    _mask(masked, surgery)
    replay(cut, surgery)
    image_nchw = _images(masked, input_shape)
    expected, found = _features(masked, image_nchw), _features(cut, image_nchw)
    result: dict[str, tuple[int, ...] | None] = {}
    for name, feature in found.items():
        whole = expected.get(name)
        if whole is None or whole.shape == feature.shape:
            continue
        lost = gone.get(name, set())
        kept = tuple(channel for channel in range(whole.shape[1]) if channel not in lost)
        result[name] = kept if _agree(whole[:, list(kept)], feature) else None
    return result


def _twins(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return two equal copies in FP64, with random weights and normalised by the batch.

    What is cut does not depend on the weights, and dead channels or signals that die out on the way
    would hide that it is wrong.
    """
    one = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(0)
    for part in one.modules():
        if isinstance(part, _BatchNorm):
            part.train()
        if isinstance(part, _BatchNorm) and part.affine:
            part.weight.fill_(1.0)
            _randomise(part.bias, 0.1, generator)
        elif isinstance(part, _ConvNd | nn.Linear) and isinstance(part.weight, nn.Parameter):
            _randomise(part.weight, (2 / part.weight[0].numel()) ** 0.5, generator)
            if part.bias is not None:
                _randomise(part.bias, 0.1, generator)
    one = one.double()
    return one, copy.deepcopy(one)


def _randomise(tensor: Tensor, deviation: float, generator: torch.Generator) -> None:
    tensor.copy_(torch.randn(tensor.shape, generator=generator) * deviation)


def _mask(module: nn.Module, surgery: Surgery) -> None:
    """Set the weights to zero that read removed channels."""
    for name, kept in surgery.kept.items():
        part = _find(module, name)
        if kept.into is None or depthwise(part) or not isinstance(part, _ConvNd | nn.Linear):
            continue
        width = part.in_features if isinstance(part, nn.Linear) else part.in_channels
        gone = sorted(set(range(width)) - set(kept.into))
        _silence(part, gone)


def _silence(part: nn.Module, gone: Iterable[int]) -> None:
    assert isinstance(part, _ConvNd | nn.Linear)
    weight = part.weight
    if isinstance(part, nn.Linear) or part.groups == 1:
        axis = 0 if isinstance(part, _ConvTransposeNd) else 1
        weight.index_fill_(axis, torch.tensor(list(gone), device=weight.device), 0.0)
        return
    width, depth = part.in_channels // part.groups, part.out_channels // part.groups
    for channel in gone:
        group, column = divmod(channel, width)
        weight[group * depth : (group + 1) * depth, column] = 0.0


def _find(module: nn.Module, name: str) -> object:
    parent, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(parent), leaf) if name else module


def _images(module: nn.Module, input_shape: tuple[int, int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images_nchw = torch.randn(_IMAGES, *input_shape, generator=generator, dtype=torch.float64)
    return images_nchw.to(next(module.parameters()).device)


def _features(module: nn.Module, image_nchw: Tensor) -> dict[str, Tensor]:
    """Return the output of every module that returns one tensor with channels on axis 1."""
    found: dict[str, Tensor] = {}
    hooks = []
    for name, part in module.named_modules():

        def hook(_part: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor) and output.dim() > 1:
                # In-place activations may follow.
                found[name] = output.clone()

        hooks.append(part.register_forward_hook(hook))
    module(image_nchw)
    for handle in hooks:
        handle.remove()
    return found


def _agree(expected: Tensor, found: Tensor) -> bool:
    if expected.shape != found.shape:
        return False
    largest = float(expected.abs().max())
    return largest > 0 and float((expected - found).abs().max()) <= _RELATIVE * largest
