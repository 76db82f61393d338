"""Prepare a network for training with few values: choose layers, and see what their inputs are."""

import fnmatch
import logging
import re
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from edgekd.core.errors import CheckpointError, UsageError, did_you_mean
from edgekd.core.records import Normalisation
from edgekd.core.specs import Quantize
from edgekd.data.augment import normalise
from edgekd.models import fake_quant, quantisers, score
from edgekd.models.fake_quant import Precision, Quantisation
from edgekd.models.family import FixedConv2d
from edgekd.models.quantisers import FLOAT
from edgekd.models.score import Images
from edgekd.quantize import calibrator
from edgekd.quantize.calibrator import Histogram

log = logging.getLogger(__name__)

IMAGE_BITS = 8  # least bits of the images
_INT8 = 8  # bits that engines compute in
_BATCH = 64
_CANDIDATES = 100  # steps that are tried


def parse_bits(text: str) -> tuple[int, int]:
    """Read "W4A8": bits of weights and of activations.

    Raises:
        UsageError: it is something else.
    """
    found = re.fullmatch(r"W(1|2|4|8|32)A(1|2|4|8|32)", text)
    if found is None:
        raise UsageError(
            f"bits are written like W4A8, for weights and activations, each of 1, 2, 4, 8 or 32 "
            f"(float), found '{text}'"
        )
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class Int8:
    """How an engine takes 8-bit numbers, so that training may do the same."""

    weight_bits: int = 8  # 7: integers in [-64, 64]
    symmetric: bool = False  # every activation has a sign, even if it is never negative


class Seen:
    """What goes into one layer."""

    def __init__(self, first: str, named: str | None) -> None:
        self.first = first  # of the layers that read the very same tensor
        self.values = Histogram()
        self._calibrator = None if named is None else calibrator.create(named)

    def add(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values."""
        self.values.add(values)
        if self._calibrator is not None:
            self._calibrator.observe(values)

    def step(self, bits: int, *, signed: bool) -> float:
        """Return the first step: what the calibrator says at 8 bits, else the best of many."""
        if bits != _INT8 or self._calibrator is None:
            return best_step(self.values, bits, signed=signed)
        low, high = self._calibrator.range()
        largest = max(-low, high) if signed else high
        return largest / quantisers.bounds(bits, signed=signed)[1] or 1.0


def quantise(
    module: nn.Module,
    spec: Quantize,
    batches: Iterable[Tensor],
    *,
    classes: int | None = None,
    int8: Int8 | None = None,
) -> Quantisation:
    """Quantise the convolutions and linear layers of a network, in place.

    Left in float: what ``spec.keep`` names, layers that the images do not pass, and layers that do
    more than PyTorch's own; a warning names those. The first step of each layer's inputs is what
    ``spec.calibrator`` says, else the best, in squared error, of 100 on these images; inputs that
    are never negative get no negative values, unless ``int8`` says so. Layers that read one tensor
    in 8 bits share one step. The first convolution's inputs, which are images, have signs and
    8 bits at least.

    Args:
        module: in float, on any device; its modes are left as they are.
        spec: bits, rule, what is kept.
        batches: prepared images [B, C, H, W], read once. For weights alone, one of zeros will do.
        classes: number of logits, to find the classifier; None: any.
        int8: of the engine that the network is trained for; None: of none in particular.

    Raises:
        UsageError: nothing would be quantised, it is quantised already, or a glob of ``keep``
            matches no layer.
        CheckpointError: an input is not finite.
    """
    if fake_quant.of(module).layers:
        raise UsageError("the network is quantised already: quantise the float one it stems from")
    if spec.weights == spec.activations == FLOAT:
        raise UsageError("W32A32 leaves everything in float: ask for fewer bits")
    engine = int8 or Int8()
    seen = _look(module, batches, spec.calibrator, values=spec.activations != FLOAT)
    kept = _kept(list(_layers(module)), spec.keep)
    first, last = _edges(module, list(seen), classes)
    layers: dict[str, Precision] = {}
    steps: dict[str, float] = {}
    owners: dict[tuple[str, bool], str] = {}  # of steps, by what they round
    for name, inputs in seen.items():
        if name in kept:
            continue
        weights, activations = int(spec.weights), int(spec.activations)
        if name in {first, last} and spec.edges is not None:
            weights, activations = max(weights, spec.edges), max(activations, spec.edges)
        if name == first:
            activations = max(activations, IMAGE_BITS)
        weights = engine.weight_bits if weights == _INT8 else weights
        negative = name == first or inputs.values.low < 0
        signed = negative or (engine.symmetric and activations == _INT8)
        owner = None
        if activations != FLOAT:
            steps[name] = inputs.step(activations, signed=signed)
        if activations == _INT8:
            owner = owners.setdefault((inputs.first, signed), name)
        shares = owner if owner != name else None
        layers[name] = Precision(weights, activations, signed, spec.rule, shares)
    if not layers:
        raise UsageError(f"{type(module).__name__} has no layer left to quantise")
    _name_others(module, set(seen) | kept)
    result = Quantisation(layers)
    fake_quant.attach(module, result, steps)
    return result


def best_step(values: Histogram, bits: int, *, signed: bool) -> float:
    """Return the step with the least squared error on these values; 1 if all of them are 0.

    Args:
        values: counts of |value|.
        bits: 1, 2, 4 or 8.
        signed: values of both signs are kept; else negative ones are not looked for.
    """
    counts = values.used().astype(np.float64)
    if not len(counts):
        return 1.0
    centres = (np.arange(len(counts)) + 0.5) * values.width
    low, top = quantisers.bounds(bits, signed=signed)
    largest = max(-values.low, values.high)
    steps = [largest / top * share / _CANDIDATES for share in range(1, _CANDIDATES + 1)]
    floor = 1 if (low, top) == (-1, 1) else 0  # one bit with signs has no 0
    errors = [_error(counts, centres, step, (floor, top)) for step in steps]
    return float(steps[int(np.argmin(errors))])


def batches(
    images: Images, normalisation: Normalisation, count: int, seed: int, device: str
) -> Iterator[Tensor]:
    """Yield ``count`` images [B, C, H, W], or all if there are fewer, drawn by ``seed``."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    for first in range(0, len(chosen), _BATCH):
        pixels = images.batch(np.sort(chosen[first : first + _BATCH]))
        yield normalise(pixels, normalisation, device)


def _layers(module: nn.Module) -> Iterator[str]:
    return (name for name, part in module.named_modules() if fake_quant.supports(part))


def _look(
    module: nn.Module, images: Iterable[Tensor], named: str | None, *, values: bool
) -> dict[str, Seen]:
    """Return what goes into each layer, in the order of the forward pass."""
    seen: dict[str, Seen] = {}
    with _hooked(module, seen, named, values=values), score.evaluating(module), torch.no_grad():
        for images_nchw in images:
            module(images_nchw)
    return seen


@contextmanager
def _hooked(
    module: nn.Module, seen: dict[str, Seen], named: str | None, *, values: bool
) -> Iterator[None]:
    readers: dict[tuple[int, int], tuple[weakref.ref[Tensor], str]] = {}

    def watch(name: str) -> Any:
        def hook(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if name not in seen:
                seen[name] = Seen(_first_reader(inputs[0], name, readers), named)
            found = seen[name]
            if values:
                array: NDArray[np.float32] = inputs[0].float().cpu().numpy()
                if not np.isfinite(array).all():
                    raise CheckpointError(
                        f"what goes into '{name}' is not finite on the calibration images, so no "
                        "step can hold it"
                    )
                found.add(array)

        return hook

    hooks = [
        module.get_submodule(name).register_forward_pre_hook(watch(name))
        for name in _layers(module)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first_reader(
    tensor: Tensor, name: str, readers: dict[tuple[int, int], tuple[weakref.ref[Tensor], str]]
) -> str:
    """Return the layer that first read this very tensor: ``name``, if none did.

    An operator that works in place gives a tensor another version.
    """
    key = id(tensor), tensor._version  # noqa: SLF001  has no public name
    known, first = readers.get(key, (None, ""))
    if known is not None and known() is tensor:
        return first
    readers[key] = weakref.ref(tensor), name
    return name


def _kept(names: list[str], globs: Sequence[str]) -> set[str]:
    kept: set[str] = set()
    for glob in globs:
        found = fnmatch.filter(names, glob)
        if not found:
            raise UsageError(
                f"keep = '{glob}' matches no convolution or linear layer."
                f"{did_you_mean(glob, names)}"
            )
        kept.update(found)
    return kept


def _edges(module: nn.Module, order: list[str], classes: int | None) -> tuple[str | None, str]:
    """Return the first convolution of the forward pass, and the classifier."""
    first = (name for name in order if isinstance(module.get_submodule(name), _ConvNd))
    return next(first, None), score.classifier(module, classes)


def _name_others(module: nn.Module, known: set[str]) -> None:
    others = [
        name
        for name, part in module.named_modules()
        if isinstance(part, _ConvNd | nn.Linear)
        and name not in known
        and not isinstance(part, FixedConv2d)
        and not isinstance(part, fake_quant.QuantisedConv2d | fake_quant.QuantisedLinear)
    ]
    if others:
        log.warning("in float, for they cannot be quantised: %s", ", ".join(others))


def _error(
    counts: NDArray[np.float64],
    centres: NDArray[np.floating],
    step: float,
    levels: tuple[int, int],
) -> float:
    rounded = step * np.clip(np.round(centres / step), *levels)
    return float((counts * (centres - rounded) ** 2).sum())
