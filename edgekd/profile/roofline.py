"""How long a kernel takes at best and at worst: arithmetic, memory and launch, from a data sheet.

The roofline model (Williams, Waterman and Patterson, 2009): a kernel is bound by what it computes
or by what it moves, whichever takes longer. Neither peak is ever reached, and how close a kernel
comes is not known beforehand; so there are two answers, and the truth should lie between.
"""

from dataclasses import dataclass
from typing import Literal, Self

from edgekd.core.errors import UsageError
from edgekd.core.estimate import PRECISIONS, Precision, Range
from edgekd.profile.kernels import Kernel
from edgekd.profile.peaks import Peaks
from edgekd.remote.devices import Board

Bound = Literal["compute", "memory", "launch"]
_TENSOR_FLOAT = (8, 0)  # compute capability: FP32 on tensor cores, at half of FP16's rate


@dataclass(frozen=True)
class Reached:
    """What share of its peaks a GPU reaches, and what launching costs."""

    compute: float  # in (0, 1]
    memory: float  # in (0, 1]
    launch_us: float  # of a kernel, >= 0
    inference_ms: float = 0.0  # besides all kernels: starting, copying, waiting; >= 0


# docs/estimate.md says what they were held against.
BEST = Reached(compute=0.9, memory=0.95, launch_us=2.0, inference_ms=0.02)
WORST = Reached(compute=0.3, memory=0.35, launch_us=15.0, inference_ms=0.5)


@dataclass(frozen=True)
class Machine:
    """A GPU in a power mode. Operations a second count a multiply-accumulate as two."""

    dense: dict[Precision, float]  # at most, of convolutions and matrix products
    plain: dict[Precision, float]  # without tensor cores: layers of many groups
    bytes_per_s: float

    @classmethod
    def of(cls, board: Board, most: Peaks) -> Self:
        """Return the peaks of a board, each by precision, in a power mode."""
        plain = board.cores * most.sms / board.sms * 2 * most.gpu_mhz * 1e6
        fp16 = most.fp16_tflops * 1e12
        major, _, minor = board.compute_capability.partition(".")
        fast = (int(major), int(minor)) >= _TENSOR_FLOAT
        dense: dict[Precision, float] = {"fp32": fp16 / 2 if fast else plain, "fp16": fp16}
        slow: dict[Precision, float] = {"fp32": plain, "fp16": min(2 * plain, fp16)}
        if most.int8_tops is not None:
            dense["int8"] = most.int8_tops * 1e12
            slow["int8"] = min(4 * plain, dense["int8"])
        return cls(dense, slow, most.bandwidth_gb_s * 1e9)


def times_ms(kernel: Kernel, machine: Machine, reached: Reached) -> dict[Bound, float]:
    """Return the time of each part of a kernel, in ms."""
    peaks = machine.plain if kernel.grouped else machine.dense
    return {
        "compute": 2e3 * kernel.macs / (peaks[kernel.precision] * reached.compute),
        "memory": 1e3 * kernel.bytes / (machine.bytes_per_s * reached.memory),
        "launch": reached.launch_us / 1e3,
    }


def range_ms(kernel: Kernel, machine: Machine) -> tuple[Range, Bound]:
    """Return how long a kernel takes, and what takes most of it at best.

    What only moves values may vanish: its least is 0.
    """
    best = times_ms(kernel, machine, BEST)
    bound = max(best, key=lambda part: best[part])
    low = 0.0 if kernel.elidable else _together(best)
    return Range(low=low, high=_together(times_ms(kernel, machine, WORST))), bound


def check(kernels: list[Kernel], board: Board, device: str) -> None:
    """Refuse a precision that a board does not have.

    Raises:
        UsageError: INT8 for a GPU for which TensorRT has none.
    """
    wanted = {kernel.precision for kernel in kernels}
    if "int8" in wanted and board.int8_tops is None:
        raise UsageError(
            f"'{device}' has no INT8: TensorRT has none for GPUs of compute capability "
            f"{board.compute_capability}. Estimate --precision fp16, or another board"
        )
    assert wanted <= set(PRECISIONS)


def _together(parts: dict[Bound, float]) -> float:
    return max(parts["compute"], parts["memory"]) + parts["launch"]
