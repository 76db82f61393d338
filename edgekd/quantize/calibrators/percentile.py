"""The range that holds a share of the values, 99.99 percent by default."""

import numpy as np
from numpy.typing import NDArray

from edgekd.quantize.calibrator import ThresholdCalibrator


class Percentile(ThresholdCalibrator):
    """Cut at the least threshold that at least ``percentile`` percent of all |value| do not exceed.

    Args:
        percentile: in (0, 100]. 99.9 already costs a small ResNet more than a point of accuracy.

    Raises:
        ValueError: it lies outside.
    """

    def __init__(self, *, percentile: float = 99.99) -> None:
        if not 0 < percentile <= 100:  # noqa: PLR2004
            raise ValueError(f"percentile must lie in (0, 100], but is {percentile}")
        super().__init__()
        self._ratio = percentile / 100

    def threshold(self, counts: NDArray[np.int64]) -> float:
        """Return the threshold, to the width of one bin."""
        below = np.cumsum(counts)
        index = int(np.searchsorted(below, self._ratio * below[-1], side="left"))
        return (index + 1) * self.histogram.width
