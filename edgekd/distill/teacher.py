"""The teacher: frozen, and either asked at every step (online) or once beforehand (cached)."""

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgekd.core.records import Normalisation
from edgekd.distill.batches import Batch
from edgekd.distill.hardware import Arithmetic
from edgekd.distill.method import Outputs
from edgekd.distill.taps import Tapped

log = logging.getLogger(__name__)

_FOLDING_ERROR = 1e-3  # of the logits' standard deviation; rounding stays far below


class Source(Protocol):
    """Whoever knows what the teacher says about a batch."""

    def __call__(self, batch: Batch) -> Outputs:
        """Return its outputs, FP32; without a graph, unless the teacher learns."""
        ...

    def look(self, images_nchw: Tensor) -> Outputs:
        """Return its outputs about other images than the batch's; a cached teacher has none."""
        ...

    def ask(self, images_nchw: Tensor) -> Outputs:
        """Return the same, with a graph back to the images, never to its parameters."""
        ...


class Frozen(nn.Module):
    """A network that learns nothing and stays in evaluation mode, whatever its owner does.

    Args:
        module: is copied; batch normalisation is folded into the convolutions before it, which
            keeps the names of all modules.
        images_nchw: a few images, on the CPU, to see which belongs to which.
    """

    def __init__(self, module: nn.Module, images_nchw: Tensor) -> None:
        super().__init__()
        copy = deepcopy(module).cpu().eval().requires_grad_(requires_grad=False)
        self.module, self.note = _folded(copy, images_nchw)

    def train(self, mode: bool = True) -> "Frozen":  # noqa: FBT001, FBT002  as in torch
        """Stay in evaluation mode."""
        del mode
        return super().train(mode=False)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits [N, K]."""
        logits_nk: Tensor = self.module(images_nchw)
        return logits_nk


class Online:
    """A teacher that looks at the very images that the student sees.

    Args:
        teacher: on the device, in evaluation mode for good.
        pairs: path of the student -> path of the teacher, whose features are read.
        normalisation: of the student, and of the teacher.
        arithmetic: how to compute.
    """

    def __init__(
        self,
        teacher: nn.Module,
        pairs: Mapping[str, str],
        normalisation: tuple[Normalisation, Normalisation],
        arithmetic: Arithmetic,
    ) -> None:
        self._pairs = {here: f"module.{there}" for here, there in pairs.items()}
        self._bare = Tapped(teacher, list(dict.fromkeys(self._pairs.values())))
        self._forward: Any = self._bare
        if arithmetic.compile:
            self._forward = torch.compile(self._bare, dynamic=False)
        self._adapt = _change(*normalisation, arithmetic.device)
        self._arithmetic = arithmetic

    def __call__(self, batch: Batch) -> Outputs:
        """Return logits and features, under the student's paths."""
        return self.look(batch.images_nchw)

    def look(self, images_nchw: Tensor) -> Outputs:
        """Return the same about any images."""
        # Not inference_mode: losses save the teacher's tensors for their backward pass.
        with torch.no_grad():
            return self._say(self._forward, images_nchw, self._arithmetic.amp)

    def ask(self, images_nchw: Tensor) -> Outputs:
        """Return the same with a graph back to the images, in FP32: they move by small steps."""
        return self._say(self._bare, images_nchw, None)

    def _say(self, forward: Any, images_nchw: Tensor, amp: torch.dtype | None) -> Outputs:
        if self._adapt is not None:
            scale_c, shift_c = self._adapt
            images_nchw = images_nchw * scale_c + shift_c
        with torch.autocast(images_nchw.device.type, dtype=amp, enabled=amp is not None):
            logits_nk, features = forward(images_nchw)
        found = {here: features[there].float() for here, there in self._pairs.items()}
        return Outputs(logits_nk.float(), found)


def _change(
    student: Normalisation, teacher: Normalisation, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    """Return what turns the student's images into the teacher's: scale, shift; None: nothing."""
    if student == teacher:
        return None

    def channels(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=device).view(1, -1, 1, 1)

    std = channels(teacher.std)
    scale_c = channels(student.std) / std
    shift_c = (channels(student.mean) - channels(teacher.mean)) / std
    return scale_c, shift_c


def _folded(module: nn.Module, images_nchw: Tensor) -> tuple[nn.Module, str]:
    """Fold batch normalisation into convolutions, if the logits stay what they are."""
    with torch.no_grad():
        expected_nk = module(images_nchw)
        copy = deepcopy(module)
        pairs = _pairs(copy, images_nchw)
        for convolution, norm in pairs:
            _fold(copy, convolution, norm)
        found_nk = copy(images_nchw)
    if not pairs:
        return module, "teacher: no batch normalisation to fold"
    error = float((found_nk - expected_nk).abs().max())
    if error > _FOLDING_ERROR * float(expected_nk.std()):
        return module, "teacher: not folded, for its batch normalisations cannot be"
    return copy, f"teacher: {len(pairs)} batch normalisations folded into convolutions"


def _pairs(module: nn.Module, images_nchw: Tensor) -> list[tuple[str, str]]:
    """Return each convolution whose output goes straight into a batch normalisation, with it.

    Whether the output goes elsewhere as well is not seen here, but in the logits.
    """
    makers: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no two outputs get the same id
    pairs: list[tuple[str, str]] = []
    names = {part: name for name, part in module.named_modules()}

    def made(part: nn.Module, args: Any, output: Tensor) -> None:
        del args
        makers[id(output)] = names[part]
        kept.append(output)

    def taken(part: nn.Module, args: tuple[Tensor, ...]) -> None:
        if id(args[0]) in makers:
            pairs.append((makers[id(args[0])], names[part]))

    hooks: list[Any] = []
    for part in names:
        # Subclasses do more than their parents; constants of the architecture stay so.
        if type(part) is nn.Conv2d and isinstance(part.weight, nn.Parameter):
            hooks.append(part.register_forward_hook(made))
        elif type(part) is nn.BatchNorm2d and part.track_running_stats:
            hooks.append(part.register_forward_pre_hook(taken))
    module(images_nchw)
    for hook in hooks:
        hook.remove()
    uses = [name for pair in pairs for name in pair]
    return [pair for pair in pairs if uses.count(pair[0]) == uses.count(pair[1]) == 1]


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    first, second = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.BatchNorm2d)
    fused = fuse_conv_bn_eval(first, second)
    _replace(module, convolution, fused)
    _replace(module, norm, nn.Identity())


def _replace(module: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, part.eval())
