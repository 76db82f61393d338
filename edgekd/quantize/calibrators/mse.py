"""The range with the least mean squared error of rounding and clipping together."""

import numpy as np
from numpy.typing import NDArray

from edgekd.quantize.calibrator import Calibrator, Histogram

_STEPS = 255
_CANDIDATES = 128


class MeanSquaredError(Calibrator):
    """Minimise mean (|value| - threshold)_+ ** 2 + step ** 2 / 12 over thresholds.

    step is the width of the range over 255: rounding errors are taken as uniform within a step.
    Exact zeros, as behind a ReLU, are rounded without error and do not count.
    """

    def __init__(self) -> None:
        self._histogram = Histogram()

    def observe(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values, of any shape."""
        self._histogram.add(values)

    def range(self) -> tuple[float, float]:
        """Return the best of 128 ranges, equally spaced up to the largest |value|."""
        counts = self._histogram.used().astype(np.float64)
        if not len(counts):
            return 0.0, 0.0
        counts[0] = counts[1] if len(counts) > 1 else counts[0]
        centres = (np.arange(len(counts)) + 0.5) * self._histogram.width
        largest = max(-self._histogram.low, self._histogram.high)
        ranges = [
            self._histogram.clipped(largest * share / _CANDIDATES)
            for share in range(1, _CANDIDATES + 1)
        ]
        errors = [_error(counts, centres, low, high) for low, high in ranges]
        return ranges[int(np.argmin(errors))]


def _error(
    counts: NDArray[np.float64], centres: NDArray[np.floating], low: float, high: float
) -> float:
    threshold = max(-low, high)
    clipped = np.maximum(centres - threshold, 0.0)
    step = (high - low) / _STEPS
    inside = counts[centres <= threshold].sum()
    return float((counts * clipped**2).sum() + inside * step**2 / 12)
