"""Read features inside a network that stays as it is: forward hooks on modules named by path.

Where the taps go by default:

- the outputs of blocks: modules with a forward of their own that hold two layers with weights or
  more, a convolution among them, and no stack of such blocks;
- in a plain network, which has no blocks, the outputs of its activations, which come after the
  batch normalisation and before the pooling;
- in both, last of all, the last convolutional feature before the pooling and the classifier.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from edgekd.core.errors import UsageError
from edgekd.models import score
from edgekd.models.surgery import Surgery

_ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
_FEATURES = 4  # axes of [N, C, H, W]
_STACK = 2  # blocks in a row that are tapped one by one


@dataclass(frozen=True)
class Tap:
    """One place to read features: dotted path of a module, and the shape of its output."""

    path: str
    shape: tuple[int, int, int]  # C, H, W


class Tapped(nn.Module):
    """A network that also returns the outputs of some of its modules.

    Args:
        module: the network; its parameters are shared and its code untouched.
        paths: which modules to read.

    Raises:
        UsageError: the network has no such module.
    """

    def __init__(self, module: nn.Module, paths: Sequence[str] = ()) -> None:
        super().__init__()
        self.module = module
        self.paths = tuple(paths)
        self._found: dict[str, Tensor] = {}
        self._hooks = [
            _part(module, path).register_forward_hook(partial(self._keep, path)) for path in paths
        ]

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits [N, K] and the features [N, C, H, W] of each path."""
        self._found.clear()
        logits_nk = self.module(images_nchw)
        features = {path: self._found[path] for path in self.paths}
        self._found.clear()  # no step may hold the graph of the one before
        return logits_nk, features

    def remove(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _keep(self, path: str, module: nn.Module, args: Any, output: Tensor) -> None:
        del module, args
        self._found[path] = output


def discover(module: nn.Module, images_nchw: Tensor) -> list[Tap]:
    """Return the default taps of a network, in the order of its forward pass.

    Args:
        module: a classifier of images; its mode and its statistics are left as they are.
        images_nchw: any images that it takes, on its device.

    Returns:
        The taps; the last one is the last convolutional feature. Empty: there is none.
    """
    calls = _watch(module, images_nchw)
    times = Counter(call.path for call in calls)
    once = [call for call in calls if times[call.path] == 1]  # of the others, which one is meant?
    blocks = _blocks(module)
    chosen = [call for call in once if call.path in blocks]
    if not chosen:
        chosen = [call for call in once if isinstance(call.part, _ACTIVATIONS)]
    if not chosen:  # activations that are functions
        norms = [call for call in once if isinstance(call.part, _NormBase)]
        chosen = norms or [call for call in once if isinstance(call.part, _ConvNd)]
    chosen += _tail(once, chosen[-1]) if chosen else []
    return [Tap(call.path, _shape(call.output)) for call in chosen]


def pair_same(student: Sequence[Tap], teacher: nn.Module, images_nchw: Tensor) -> dict[str, str]:
    """Pair the taps of a student with those of a teacher of the same architecture, by path.

    Raises:
        UsageError: there are none.
    """
    if not student:
        raise UsageError(
            "the student has no convolutional features to tap. Use method 'kd', which compares "
            "logits alone"
        )
    paths = [tap.path for tap in student]
    tapped = Tapped(teacher, paths)
    try:
        with score.evaluating(teacher), torch.no_grad():
            tapped(images_nchw)
    finally:
        tapped.remove()
    return {path: path for path in paths}


def pair_stages(student: Sequence[Tap], teacher: Sequence[Tap]) -> dict[str, str]:
    """Pair the taps of two architectures stage by stage.

    A stage is a stretch of maps of one size; its last map stands for it. Stages of equal size are
    paired; if no two are equal, stages are counted from the end.

    Returns:
        Path of the student -> path of the teacher, in the student's order.

    Raises:
        UsageError: one of them has none.
    """
    if not student or not teacher:
        which = "teacher" if student else "student"
        raise UsageError(
            f"the {which} has no convolutional features to tap. Use method 'kd', which compares "
            "logits alone"
        )
    mine, theirs = _stages(student), _stages(teacher)
    of_size = {tap.shape[1:]: tap for tap in theirs}
    alike = [(tap, of_size[tap.shape[1:]]) for tap in mine if tap.shape[1:] in of_size]
    if not alike:
        count = min(len(mine), len(theirs))
        alike = list(zip(mine[-count:], theirs[-count:], strict=True))
    return {here.path: there.path for here, there in alike}


def between(teacher: Surgery, student: Surgery, paths: Sequence[str]) -> Surgery:
    """Return which of the teacher's channels a student kept, if the teacher was cut itself.

    Args:
        teacher: what survives of the network that both stem from.
        student: likewise.
        paths: of the modules that are asked for.
    """
    outputs: dict[str, tuple[int, ...] | None] = {}
    for path in paths:
        here, there = student.kept_output(path), teacher.kept_output(path)
        if here is not None and there is not None:
            position = {channel: index for index, channel in enumerate(there)}
            known = all(channel in position for channel in here)
            outputs[path] = tuple(position[channel] for channel in here) if known else None
        else:
            outputs[path] = here if there is None else None
    return Surgery(outputs=outputs)


@dataclass(frozen=True, eq=False)
class _Call:
    path: str
    part: nn.Module
    output: Tensor


def _watch(module: nn.Module, images_nchw: Tensor) -> list[_Call]:
    """Return what each part makes of the images until the classifier, if that is [N, C, H, W]."""
    calls: list[_Call] = []
    name = score.classifier(module)
    over = False

    def stop(part: nn.Module, args: Any) -> None:
        nonlocal over
        del part, args
        over = True

    def note(path: str, part: nn.Module, args: Any, output: object) -> None:
        del args
        if not over and path and isinstance(output, Tensor) and output.ndim == _FEATURES:
            calls.append(_Call(path, part, output))

    with _hooked(module, note) as hooks, score.evaluating(module), torch.no_grad():
        hooks.append(module.get_submodule(name).register_forward_pre_hook(stop))
        module(images_nchw)
    return calls


@contextmanager
def _hooked(module: nn.Module, note: Any) -> Iterator[list[Any]]:
    hooks: list[Any] = [
        part.register_forward_hook(partial(note, path)) for path, part in module.named_modules()
    ]
    try:
        yield hooks
    finally:
        for hook in hooks:
            hook.remove()


def _blocks(module: nn.Module) -> set[str]:
    """Return the paths of the blocks, outermost first."""
    found = set()
    open_paths = [("", module)]
    while open_paths:
        path, part = open_paths.pop()
        if path and _is_block(part) and not _holds_stack(part):
            found.add(path)
        else:
            prefix = f"{path}." if path else ""
            open_paths += [(prefix + name, child) for name, child in part.named_children()]
    return found


def _is_container(part: nn.Module) -> bool:
    """Say whether a module only lists others: no forward of its own."""
    if isinstance(part, nn.Sequential):
        return type(part).forward is nn.Sequential.forward
    return isinstance(part, nn.ModuleList | nn.ModuleDict) and "forward" not in vars(type(part))


def _is_block(part: nn.Module) -> bool:
    if _is_container(part):
        return False
    weighted = [layer for layer in part.modules() if isinstance(layer, _ConvNd | nn.Linear)]
    return len(weighted) >= _STACK and any(isinstance(layer, _ConvNd) for layer in weighted)


def _holds_stack(part: nn.Module) -> bool:
    """Say whether a module wraps a whole trunk, so that its blocks are to be tapped instead."""
    return any(
        inner is not part
        and _is_container(inner)
        and sum(_is_block(child) for child in inner.children()) >= _STACK
        for inner in part.modules()
    )


def _tail(calls: list[_Call], last: _Call) -> list[_Call]:
    """Return the last feature behind the last block, before the pooling; empty: there is none."""
    kinds = (_ConvNd, _NormBase, nn.LayerNorm, *_ACTIVATIONS)
    behind = [
        call
        for call in calls[calls.index(last) + 1 :]
        if isinstance(call.part, kinds) and _shape(call.output)[1:] == _shape(last.output)[1:]
    ]
    if not behind:
        return []
    # An activation in place hands on the tensor of its input: name whoever had it last.
    return [call for call in calls if call.output is behind[-1].output][-1:]


def _stages(taps: Sequence[Tap]) -> list[Tap]:
    return [list(group)[-1] for _, group in groupby(taps, key=lambda tap: tap.shape[1:])]


def _shape(output: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = output.shape
    return channels, height, width


def _part(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        raise UsageError(
            f"{type(module).__name__} has no module '{path}' whose features could be read"
        ) from error
