"""Quantisers of weights and activations whose gradient passes straight through.

Rule "edgekd" is ours; rule "faqd" is read in the published code of FAQD (Li et al., 2023,
https://arxiv.org/abs/2302.10899), for comparison. Where FAQD has no rule (8-bit weights), ours
serves.

Suffixes: O output channels; weights are [O, ...].
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

Rule = Literal["edgekd", "faqd"]

FLOAT = 32  # bits that stand for: not quantised
_TERNARY = 0.7  # share of mean |w| below which a ternary weight is 0: TWN
_CLIPS = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.52)  # shares of the largest |w|, tried at 4 bits
LEAST_STEP = 1e-8
_FAQD_STEPS = (1e-3, 5.0)
_FAQD_STEP_RATE = 0.01


def weight(weight_o: Tensor, bits: int, rule: Rule = "edgekd") -> Tensor:
    """Return the weight in few values; the gradient of the result is that of ``weight_o``.

    "edgekd", each output channel on its own:

    - 1 bit:  mean |w| * sign(w), sign(0) = 1: two values (XNOR-Net, arXiv 1603.05279)
    - 2 bits: s * sign(w) where |w| > 0.7 mean |w|, else 0; s = mean |w| over the weights that are
      kept: three values (TWN, arXiv 1605.04711)
    - 4 bits: s * round(w / s) in -7 .. 7: 15 values; s is max |w| / 7 times the best, in squared
      error, of seven shares from 0.52 to 1
    - 7 bits: s * round(w / s) in -64 .. 64; s = max |w| / 64: 8-bit weights that cannot overflow
      in ONNX Runtime's x86 kernels
    - 8 bits: s * round(w / s) in -127 .. 127; s = max |w| / 127

    "faqd", one scale for the whole tensor: at 2 bits the mean of the kept |w| is taken over all
    weights, which makes it smaller; at 4 bits d = min(max |w| / 15, 10), |w| in (d, 3d] counts 1,
    (3d, 5d] 2 ... above 13d 7, and the scale is that of least squares.

    Args:
        weight_o: [O, ...], floating.
        bits: 1, 2, 4, 7, 8, or 32: it is returned as it is.
        rule: which quantisers.

    Raises:
        ValueError: another number of bits.
    """
    if bits == FLOAT:
        return weight_o
    detached = weight_o.detach()
    if rule == "faqd" and bits in _WHOLE:
        quantised = _WHOLE[bits](detached)
    elif bits in _BY_CHANNEL:
        rows_oi = detached.reshape(len(detached), -1)
        quantised = _BY_CHANNEL[bits](rows_oi).view_as(detached)
    else:
        raise ValueError(f"weights take 1, 2, 4, 7, 8 or 32 bits, but {bits} are asked for")
    return straight_through(quantised, weight_o)


def bounds(bits: int, *, signed: bool) -> tuple[int, int]:
    """Return the least and the largest multiple of the step that an activation takes."""
    if not signed:
        return 0, 2**bits - 1
    return (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def activation(
    values_n: Tensor, step: Tensor, bits: int, *, signed: bool, rule: Rule = "edgekd"
) -> Tensor:
    """Return step * round(values / step), cut at the bounds, with a step that learns.

    The gradient of the values passes within the bounds. That of the step is, summed over values,
    round(v) - v within them and the bound outside, v = values / step; it is scaled by
    1 / sqrt(F * largest multiple), F values of one image. Halves go to the even number; with one
    bit and signs, values are +-step.

    Source: LSQ, Esser et al., 2019, https://arxiv.org/abs/1902.08153, from the paper's formulas.

    With ``rule`` "faqd" and no signs: step * ceil(v), and the step's gradient is 2^(bits - 1)
    within the bounds and 2^bits - 1 above, summed, times 0.01, cut to [-1, 1]; the step counts as
    no less than 1e-3 and no more than 5.

    Args:
        values_n: [N, ...], floating.
        step: [], > 0.
        bits: 1, 2, 4 or 8.
        signed: values can be negative.
        rule: which quantiser.
    """
    if rule == "faqd" and not signed:
        cut: Tensor = _QuantisedReLU.apply(values_n, step, bits)
        return cut
    low, high = bounds(bits, signed=signed)
    per_image = values_n[:1].numel()
    scaled = step / math.sqrt(max(per_image, 1) * high)
    # A step at its floor still gets a gradient, so it can grow again.
    used = straight_through(step.clamp_min(LEAST_STEP), scaled)
    ratio_n = (values_n / used).clamp(low, high)
    rounded_n = _sign(ratio_n) if bits == 1 and signed else ratio_n.round()
    return straight_through(rounded_n, ratio_n) * used


def straight_through(value: Tensor, real: Tensor) -> Tensor:
    """Return ``value`` to the last bit, with the gradient of ``real``."""
    return value.detach() + (real - real.detach())


class _QuantisedReLU(torch.autograd.Function):
    """FAQD's activation: rounds up, and learns its step by a rule of its own."""

    @staticmethod
    def forward(ctx: Any, values_n: Tensor, step: Tensor, bits: int) -> Tensor:
        used = step.clamp(*_FAQD_STEPS)
        ctx.save_for_backward(values_n, used)
        ctx.bits = bits
        return used * (values_n / used).ceil().clamp(0, 2**bits - 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient_n,) = gradients
        values_n, used = ctx.saved_tensors
        top = 2**ctx.bits - 1
        above = values_n > used * top
        inside = (values_n > 0) & ~above
        slope_n = inside * float(2 ** (ctx.bits - 1)) + above * float(top)
        of_step = (_FAQD_STEP_RATE * (gradient_n * slope_n).sum()).clamp(-1, 1)
        return gradient_n * inside, of_step, None


def _sign(values: Tensor) -> Tensor:
    """Return 1 or -1; 1 for 0."""
    return torch.where(values < 0, -torch.ones_like(values), torch.ones_like(values))


def _binary(rows_oi: Tensor) -> Tensor:
    return rows_oi.abs().mean(dim=1, keepdim=True) * _sign(rows_oi)


def _ternary(rows_oi: Tensor) -> Tensor:
    size_oi = rows_oi.abs()
    kept_oi = size_oi > _TERNARY * size_oi.mean(dim=1, keepdim=True)
    count_o = kept_oi.sum(dim=1, keepdim=True).clamp_min(1)
    scale_o = (size_oi * kept_oi).sum(dim=1, keepdim=True) / count_o
    return scale_o * kept_oi * rows_oi.sign()


def _four_bits(rows_oi: Tensor) -> Tensor:
    best_oi = _grid(rows_oi, 7, _CLIPS[0])
    for clip in _CLIPS[1:]:
        found_oi = _grid(rows_oi, 7, clip)
        better_o = _error(found_oi, rows_oi) < _error(best_oi, rows_oi)
        best_oi = torch.where(better_o, found_oi, best_oi)
    return best_oi


def _seven_bits(rows_oi: Tensor) -> Tensor:
    return _grid(rows_oi, 64, 1.0)


def _eight_bits(rows_oi: Tensor) -> Tensor:
    return _grid(rows_oi, 127, 1.0)


def _grid(rows_oi: Tensor, largest: int, clip: float) -> Tensor:
    scale_o = rows_oi.abs().amax(dim=1, keepdim=True) * (clip / largest)
    scale_o = scale_o.clamp_min(torch.finfo(rows_oi.dtype).tiny)  # a row of zeros stays one
    return scale_o * (rows_oi / scale_o).round().clamp(-largest, largest)


def _error(found_oi: Tensor, rows_oi: Tensor) -> Tensor:
    return (found_oi - rows_oi).square().sum(dim=1, keepdim=True)


def _faqd_binary(whole: Tensor) -> Tensor:
    return whole.abs().mean() * _sign(whole)


def _faqd_ternary(whole: Tensor) -> Tensor:
    size = whole.abs()
    kept = size >= _TERNARY * size.mean()
    return (size * kept).mean() * kept * whole.sign()


def _faqd_four_bits(whole: Tensor) -> Tensor:
    size = whole.abs()
    width = (size.max() / 15).clamp(torch.finfo(whole.dtype).tiny, 10)
    level = ((size / width - 1) / 2).ceil().clamp(0, 7)
    scale = (size * level).sum() / level.square().sum().clamp_min(1)
    return scale * level * whole.sign()


_BY_CHANNEL = {1: _binary, 2: _ternary, 4: _four_bits, 7: _seven_bits, 8: _eight_bits}
_WHOLE = {1: _faqd_binary, 2: _faqd_ternary, 4: _faqd_four_bits}
