"""The range with the least mean squared error of rounding and clipping together."""

import numpy as np
from numpy.typing import NDArray

from edgekd.quantize.calibrator import ThresholdCalibrator, without_zeros

_STEPS = 255
_CANDIDATES = 128


class MeanSquaredError(ThresholdCalibrator):
    """Minimise mean (|value| - threshold)_+ ** 2 + step ** 2 / 12 over thresholds.

    step is the width of the range over 255: rounding errors are taken as uniform within a step.
    Exact zeros, as behind a ReLU, are rounded without error and do not count.
    """

    def threshold(self, counts: NDArray[np.int64]) -> float:
        """Return the best of 128 thresholds, equally spaced up to the largest |value|."""
        inner = without_zeros(counts)
        centres = (np.arange(len(inner)) + 0.5) * self.histogram.width
        largest = max(-self.histogram.low, self.histogram.high)
        thresholds = [largest * share / _CANDIDATES for share in range(1, _CANDIDATES + 1)]
        errors = [_error(inner, centres, *self.histogram.clipped(one)) for one in thresholds]
        return thresholds[int(np.argmin(errors))]


def _error(
    counts: NDArray[np.float64], centres: NDArray[np.floating], low: float, high: float
) -> float:
    threshold = max(-low, high)
    clipped = np.maximum(centres - threshold, 0.0)
    step = (high - low) / _STEPS
    inside = counts[centres <= threshold].sum()
    return float((counts * clipped**2).sum() + inside * step**2 / 12)
