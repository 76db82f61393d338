"""The arithmetic of 8-bit numbers: real = scale * (integer - zero point), rounded half to even."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.core.errors import ExportError

# Smaller scales are not normal numbers after a division in FP32, and no engine takes zero.
SMALLEST_SCALE = 1e-30
LARGEST_HALF = 65504.0  # of FP16's finite numbers
LEAST_NORMAL_HALF = 2.0**-14  # FP16 numbers below it lose bits; below 2**-25 they become zero
_INT32_ROOM = 2**30  # half of INT32: the accumulator adds products to the bias


@dataclass(frozen=True)
class Encoding:
    """How the values of one tensor are written in 8 bits."""

    scale: float  # > 0, exactly representable in FP32
    zero_point: int
    signed: bool

    @property
    def dtype(self) -> type[np.int8] | type[np.uint8]:
        """INT8 or UINT8."""
        return np.int8 if self.signed else np.uint8


def symmetric(low: float, high: float) -> Encoding:
    """Return signed integers in [-127, 127] with zero point 0; a dead tensor gets scale 1."""
    return Encoding(_scale(max(abs(low), abs(high)), 127), 0, signed=True)


def asymmetric(low: float, high: float) -> Encoding:
    """Return unsigned integers in [0, 255]; zero is always represented exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = _scale(high - low, 255)
    return Encoding(scale, int(np.clip(np.rint(-low / scale), 0, 255)), signed=False)


def quantise(values: NDArray[np.float32], encoding: Encoding) -> NDArray[np.int8 | np.uint8]:
    """Round to integers; what lies outside the range takes its nearest end."""
    limits = np.iinfo(encoding.dtype)
    integers = np.rint(values / np.float32(encoding.scale)) + encoding.zero_point
    clipped: NDArray[np.int8 | np.uint8] = np.clip(integers, limits.min, limits.max).astype(
        encoding.dtype
    )
    return clipped


def dequantise(integers: NDArray[np.int8 | np.uint8], encoding: Encoding) -> NDArray[np.float32]:
    """Return the real values of integers."""
    return (integers.astype(np.float32) - encoding.zero_point) * np.float32(encoding.scale)


def quantise_weight(
    weight: NDArray[np.float32],
    axis: int | None,
    bits: int = 8,
    least_scale: NDArray[np.float64] | None = None,
    *,
    half: bool = False,
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise a weight symmetrically, by output channel.

    Args:
        weight: of any shape.
        axis: of the C output channels; None: one scale for all.
        bits: 8: integers in [-127, 127]; 7: in [-64, 64].
        least_scale: [C], see ``bias_room``; None: no demand.
        half: the scales are to be stored in FP16.

    Returns:
        Integers in the weight's shape, and scales [C], or [] without axis.
    """
    limit = 127 if bits == 8 else 64  # noqa: PLR2004
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others if axis is not None else None, initial=0.0)
    scales = np.asarray(largest, dtype=np.float64) / limit
    if least_scale is not None:
        scales = np.maximum(scales, least_scale)
    # A channel without weights: any scale does.
    exact = np.where(scales < SMALLEST_SCALE, 1.0, scales).astype(np.float32)
    exact = half_scale(exact) if half else exact
    along = [-1 if index == axis else 1 for index in range(weight.ndim)]
    spread = exact.reshape(along) if axis is not None else exact
    integers = np.clip(np.rint(weight / spread), -limit, limit).astype(np.int8)
    return integers, exact


def half_scale(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the nearest scale that is a normal number in FP16; others lose bits or are zero.

    Raises:
        ExportError: it is beyond FP16.
    """
    if scale.max(initial=0) > LARGEST_HALF:
        raise ExportError(
            f"a scale of {scale.max():.3g} is beyond FP16's {LARGEST_HALF:.0f}: export a target "
            "with FP32 scales, such as tensorrt-int8"
        )
    return np.maximum(scale, LEAST_NORMAL_HALF).astype(np.float16).astype(np.float32)


def bias_room(bias: NDArray[np.float32], activation_scale: float) -> NDArray[np.float64]:
    """Return the least weight scale [C] with which the bias fits into INT32.

    A channel of tiny weights with an ordinary bias would overflow otherwise.
    """
    return np.abs(bias.astype(np.float64)) / (activation_scale * _INT32_ROOM)


def _scale(width: float, steps: int) -> float:
    scale = float(np.float32(width / steps))
    return scale if scale >= SMALLEST_SCALE else 1.0
