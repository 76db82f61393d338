"""A second opinion on paired drops of accuracy: images drawn anew, with their two answers.

It assumes no formula for the spread, but it knows only the images that are there: without images
that one model alone has right, it would call any drop impossible. So it takes some of those.
"""

import numpy as np
from numpy.typing import NDArray

from edgekd.core.records import Interval

FEWEST_DISCORDANT = 10  # with fewer, its ends jump from image to image
_RESAMPLES = 20_000


def paired_difference(
    lost: int, gained: int, images: int, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Return how far the subject's accuracy lies below the reference's, as ratios, > 0 if worse.

    Args:
        lost: images that the reference alone has right.
        gained: images that the subject alone has right.
        images: all.
        confidence: two-sided.
        seed: of the draws.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: percentiles.
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(_draws(lost, gained, images, seed), [tail, 1 - tail]).tolist()
    return Interval(value=(lost - gained) / images, low=low, high=high, confidence=confidence)


def p_value(lost: int, gained: int, images: int, margin: float, seed: int = 0) -> float:
    """Return the share of draws whose drop is the margin or less: small if it is surely more."""
    return float((_draws(lost, gained, images, seed) <= margin).mean())


def _draws(lost: int, gained: int, images: int, seed: int) -> NDArray[np.float64]:
    """Return the drop of each draw of so many images, with replacement."""
    shares = [lost / images, gained / images, (images - lost - gained) / images]
    counts = np.random.default_rng(seed).multinomial(images, shares, size=_RESAMPLES)
    return np.asarray((counts[:, 0] - counts[:, 1]) / images)
