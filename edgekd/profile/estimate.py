"""Estimate the latency of an ONNX file on a kind of board that is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path
from statistics import fmean, stdev

from scipy import special

from edgekd.core import files, provenance
from edgekd.core.errors import UsageError
from edgekd.core.estimate import Calibration, Estimate, Layer, Precision, Range
from edgekd.profile import kernels, peaks, roofline
from edgekd.remote.devices import Board, Device

CONFIDENCE = 0.9  # two-sided, of calibrated ranges
_LARGEST = 100.0
NOT_MEASURED = "worked out from the board's data sheet, not measured"


@dataclass(frozen=True)
class Known:
    """A latency that was measured on such a board, beside what is estimated for it."""

    measured_ms: float
    estimated: Range

    @property
    def factor(self) -> float:
        """Return measured over estimated."""
        return self.measured_ms / centre(self.estimated)


@dataclass(frozen=True)
class Wishes:
    """What is to be estimated besides the model and the device."""

    batch: int = 1
    precision: Precision | None = None  # None: as the file says
    power_mode: str | None = None  # None: the highest clocks of any


def estimate(
    model: Path,
    kind: str,
    device: Device,
    wishes: Wishes | None = None,
    known: Sequence[Known] = (),
) -> Estimate:
    """Estimate the median latency of a model on a kind of board.

    Args:
        model: an ``.onnx`` file.
        kind: the device's name, such as "orin-nano-8gb".
        device: its facts; it must be a board.
        wishes: batch, precision, power mode.
        known: past measurements on such boards; they move the range, and narrow it from the
            second on.

    Raises:
        UsageError: the file cannot be read, or the board has no such precision or mode.
    """
    wishes = wishes or Wishes()
    board = board_of(kind, device)
    most = peaks.of(board, wishes.power_mode, kind)
    machine = roofline.Machine.of(board, most)
    found = kernels.read(model, wishes.batch, wishes.precision)
    roofline.check(found, board, kind)
    layers = tuple(_layer(kernel, machine) for kernel in found)
    total = Range(
        low=roofline.BEST.inference_ms + sum(layer.ms.low for layer in layers),
        high=roofline.WORST.inference_ms + sum(layer.ms.high for layer in layers),
    )
    calibration = calibrate(known) if known else None
    return Estimate(
        provenance=provenance.stamp("onnx"),
        parents=(files.sha256_of(model),),
        subject=str(model),
        sha256=files.sha256_of(model),
        device=kind,
        power_mode=wishes.power_mode,
        gpu_mhz=most.gpu_mhz,
        sms=most.sms,
        bandwidth_gb_s=most.bandwidth_gb_s,
        batch=wishes.batch,
        precision=wishes.precision,
        macs=sum(kernel.macs for kernel in found),
        p50_ms=moved(total, calibration),
        layers=layers,
        calibration=calibration,
        notes=(NOT_MEASURED, *most.taken),
    )


def calibrate(known: Sequence[Known]) -> Calibration:
    """Return by how much estimates are moved, and how wrong they then still are.

    Each measurement is predicted from all others; the largest error is stated. The width is that of
    the prediction interval for one more model, if the factors are log-normal: with few measurements
    it is wide.

    Args:
        known: at least one.
    """
    logs = [log(one.factor) for one in known]
    errors = [
        abs(mine - fmean(logs[:index] + logs[index + 1 :]))
        for index, mine in enumerate(logs)
        if len(logs) > 1
    ]
    return Calibration(
        measurements=len(known),
        factor=exp(fmean(logs)),
        width=_width(logs) if errors else None,
        error_ratio=exp(max(errors)) - 1 if errors else None,
    )


def moved(total: Range, calibration: Calibration | None) -> Range:
    """Return a range around what past measurements make of an estimate.

    One measurement moves it and leaves its width; several narrow it as far as they agree, and never
    widen it.
    """
    if calibration is None or total.low <= 0:
        return total
    width = sqrt(total.high / total.low)
    if calibration.width is not None:
        width = min(width, calibration.width)
    middle = centre(total) * calibration.factor
    return Range(low=middle / width, high=middle * width)


def _width(logs: Sequence[float]) -> float:
    count = len(logs)
    quantile = float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    # No wider than a float holds; it cannot matter, as ranges are never widened.
    return exp(min(quantile * stdev(logs) * sqrt(1 + 1 / count), _LARGEST))


def centre(total: Range) -> float:
    """Return the geometric mean of a range's ends."""
    return sqrt(total.low * total.high)


def board_of(kind: str, device: Device) -> Board:
    """Return the facts of a board.

    Raises:
        UsageError: it is no board, so nothing can be worked out.
    """
    if device.board is None:
        raise UsageError(
            f"'{kind}' has no [board] table from which a latency could be worked out: measure there"
        )
    return device.board


def _layer(kernel: kernels.Kernel, machine: roofline.Machine) -> Layer:
    ms, bound = roofline.range_ms(kernel, machine)
    return Layer(
        name=kernel.name,
        operator=kernel.operator,
        precision=kernel.precision,
        macs=kernel.macs,
        bytes=kernel.bytes,
        bound=bound,
        ms=ms,
    )
