"""How often a model that lies at its limit looks at least as bad: one-sided p-values of failures.

Each agrees with an interval of ``edgekd.core.statistics``: it is small exactly where that interval
lies on the wrong side of the limit. ``images_needed`` says how many images tell a share from it.
"""

import math
from statistics import NormalDist

from edgekd.core.records import Interval

_NORMAL = NormalDist()
_POWER = 0.8  # how often so many images are to decide


def share_p_value(correct: int, images: int, least: float) -> float:
    """Return the one-sided p-value against "the true share is ``least`` or more".

    It is below 1 - c exactly if the upper end of ``wilson`` at the two-sided confidence 2 c - 1 is
    below ``least``, a ratio in (0, 1).
    """
    if not 0 <= correct <= images or images < 1:
        raise ValueError(f"{correct} of {images} images is no count of images")
    spread = math.sqrt(least * (1 - least) / images)
    return _NORMAL.cdf((correct / images - least) / spread)


def images_needed(share: float, least: float, confidence: float = 0.95) -> int | None:
    """Return about how many images tell a true share from the least, in four of five cases.

    The spread of the share is that at ``least`` where the test must not err, and that at ``share``
    where it is to decide.

    Args:
        share: the true one, a ratio in [0, 1].
        least: a ratio in (0, 1).
        confidence: of the test, one-sided.

    Returns:
        None if the share is the least, for then no number of images decides.
    """
    if share == least:
        return None
    need = _NORMAL.inv_cdf(confidence) * math.sqrt(least * (1 - least))
    need += _NORMAL.inv_cdf(_POWER) * math.sqrt(share * (1 - share))
    return math.ceil((need / (share - least)) ** 2)


def ratio_p_value(measured: Interval, limit: float) -> float:
    """Return the one-sided p-value against "the true value is the limit or less".

    The interval's lower end is taken as a normal bound of the logarithm, as for a ratio or a time;
    so the value is below (1 - confidence) / 2 exactly if the lower end is above the limit.

    Args:
        measured: a value > 0.
        limit: > 0.

    Source: Altman and Bland, BMJ 343:d2304 (2011), case (b), from the side of the limit.
    """
    if measured.low <= 0:  # as energy above idle may be: it cannot be told from nothing
        return 1.0
    if measured.low >= measured.value:  # no spread at all
        return 0.0 if measured.value > limit else 1.0
    z = _NORMAL.inv_cdf((1 + measured.confidence) / 2)
    spread = math.log(measured.value / measured.low) / z
    return _NORMAL.cdf(-math.log(measured.value / limit) / spread)
