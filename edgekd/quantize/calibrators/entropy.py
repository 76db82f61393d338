"""The range whose 8-bit distribution loses the least information: TensorRT's calibration.

Source: Szymon Migacz, 2017, "8-bit Inference with TensorRT", GPU Technology Conference, slides
23 to 39.
"""

import numpy as np
from numpy.typing import NDArray

from edgekd.quantize.calibrator import ThresholdCalibrator, without_zeros

_LEVELS = 128  # steps of |value| in signed 8 bits
_STRIDE = 8  # bins from one threshold to the next: 256 thresholds or more are tried


class Entropy(ThresholdCalibrator):
    """Minimise KL(P || Q) over thresholds.

    P is the histogram of |value| with what lies beyond the threshold added to the last bin; Q is
    the histogram up to there, written in 128 levels and spread again over the bins in use.
    """

    def threshold(self, counts: NDArray[np.int64]) -> float:
        """Return the threshold, to the width of eight bins."""
        inner = without_zeros(counts)
        ends = [*range(_LEVELS, len(inner), _STRIDE), len(inner)]
        divergences = [divergence(inner, end) for end in ends]
        return float(ends[int(np.argmin(divergences))] * self.histogram.width)


def divergence(counts: NDArray[np.float64], end: int, levels: int = _LEVELS) -> float:
    """Return KL(P || Q) in nats for a threshold behind bin ``end`` - 1; infinite: Q misses P.

    Args:
        counts: of the bins, from 0 up.
        end: how many bins are kept.
        levels: that they are written in; with more levels than bins nothing is lost but the tail.
    """
    kept = counts[:end]
    clipped = kept.copy()
    clipped[-1] += counts[end:].sum()
    starts = np.unique(np.arange(levels) * end // levels)
    in_use = kept > 0
    sums = np.add.reduceat(kept, starts)
    uses = np.add.reduceat(in_use.astype(np.float64), starts)
    means = np.divide(sums, uses, out=np.zeros_like(sums), where=uses > 0)
    spread = np.repeat(means, np.diff([*starts, end])) * in_use
    if not spread.any():
        return float("inf")
    p, q = clipped / clipped.sum(), spread / spread.sum()
    some = p > 0
    if (q[some] == 0).any():
        return float("inf")
    return float((p[some] * np.log(p[some] / q[some])).sum())
