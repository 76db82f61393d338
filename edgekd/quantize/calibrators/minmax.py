"""The least and the largest value: nothing is clipped, and one outlier widens every step."""

import numpy as np
from numpy.typing import NDArray

from edgekd.quantize.calibrator import Calibrator


class MinMax(Calibrator):
    """The range of all values seen."""

    def __init__(self) -> None:
        self._low = self._high = 0.0

    def observe(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values, of any shape."""
        if values.size:
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))

    def range(self) -> tuple[float, float]:
        """Return the least value and the largest, 0 included."""
        return self._low, self._high
