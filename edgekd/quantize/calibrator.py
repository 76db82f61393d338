"""What a calibrator is: it sees a tensor's values batch by batch and settles on a range."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgekd.core import plugins

BINS = 4096  # at least half of them lie within the values seen


class Calibrator(ABC):
    """Chooses the range of one tensor; its memory does not grow with the number of values."""

    @abstractmethod
    def observe(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values, of any shape."""

    @abstractmethod
    def range(self) -> tuple[float, float]:
        """Return low <= 0 and high >= 0; both 0: no value but zero was seen."""


class ThresholdCalibrator(Calibrator):
    """Cuts |value| at a threshold that it chooses by their histogram."""

    def __init__(self) -> None:
        self.histogram = Histogram()

    def observe(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values, of any shape."""
        self.histogram.add(values)

    def range(self) -> tuple[float, float]:
        """Return the values' own range, cut at the threshold."""
        counts = self.histogram.used()
        return self.histogram.clipped(self.threshold(counts)) if len(counts) else (0.0, 0.0)

    @abstractmethod
    def threshold(self, counts: NDArray[np.int64]) -> float:
        """Return the largest |value| that is kept, for the counts of one bin or more."""


def create(name: str, options: Mapping[str, object] | None = None) -> Calibrator:
    """Return a calibrator that has seen nothing yet.

    Raises:
        UsageError: no such calibrator, or no such option.
    """
    return plugins.create(plugins.CALIBRATORS, name, Calibrator, dict(options or {}))  # type: ignore[type-abstract]


def without_zeros(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one bin's counts or more with the second bin's for the first, which holds the zeros.

    Behind a ReLU half of all values are zeros, and they are exact at any scale.
    """
    found = counts.astype(np.float64)
    found[0] = found[min(1, len(found) - 1)]
    return found


class Histogram:
    """Counts |value| in bins whose common width doubles when a larger value comes.

    The last bin ends at a power of two, so bins merge in pairs and exactly: the counts do not
    depend on how the values were cut into batches, nor on their order.
    """

    def __init__(self, bins: int = BINS) -> None:
        self.counts = np.zeros(bins, dtype=np.int64)
        self.low = 0.0  # the least value, or 0
        self.high = 0.0  # the largest value, or 0
        self._exponent: int | None = None  # the last bin ends at 2 ** exponent
        self._zeros = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values."""
        if not values.size:
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        largest = max(-self.low, self.high)
        if largest == 0.0:
            self._zeros += values.size
            return
        self._grow(int(np.frexp(largest)[1]))
        assert self._exponent is not None
        # Division by a power of two is exact, so no value near an edge changes its bin.
        places = np.abs(values).astype(np.float64).reshape(-1) * (
            len(self.counts) / 2.0**self._exponent
        )
        indices = np.minimum(places.astype(np.int64), len(self.counts) - 1)
        self.counts += np.bincount(indices, minlength=len(self.counts))

    def used(self) -> NDArray[np.int64]:
        """Return the counts up to the bin of the largest |value|; empty: only zeros were seen."""
        found = np.flatnonzero(self.counts)
        if self._exponent is None or not len(found):
            return self.counts[:0]
        counts = self.counts[: found[-1] + 1].copy()
        counts[0] += self._zeros
        return counts

    def beyond(self, threshold: float) -> float:
        """Return the share of values, in [0, 1], whose size exceeds a threshold, to one bin."""
        counts = self.used()
        if not len(counts):
            return 0.0
        return float(counts[math.floor(threshold / self.width) + 1 :].sum() / counts.sum())

    @property
    def width(self) -> float:
        """The width of one bin."""
        assert self._exponent is not None
        return float(2.0**self._exponent / len(self.counts))

    def clipped(self, threshold: float) -> tuple[float, float]:
        """Return the values' own range, cut at +-threshold."""
        return max(self.low, -threshold), min(self.high, threshold)

    def _grow(self, exponent: int) -> None:
        if self._exponent is None:
            self._exponent = exponent
        while self._exponent < exponent:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros_like(merged)])
            self._exponent += 1
