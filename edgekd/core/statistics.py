"""Estimates with their uncertainty: accuracy, paired drops of accuracy, latency.

Shares and drops are ratios in [-1, 1], never percent. ``confidence`` is two-sided wherever an
``Interval`` is returned; a one-sided bound at 95 % is an end of the two-sided interval at 90 %.
Discordant images are those that exactly one of two models has right: ``lost``, which the reference
has right and the subject wrong, and ``gained``, the other way round. Only they tell two models
apart, which is why paired intervals are so much narrower than those of two separate accuracies.
scipy would add 0.2 s to the start of every command, so only what needs it imports it.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgekd.core.records import Interval

Floats = NDArray[np.floating]
FEWEST_BLOCKS = 6  # the range of 5 blocks misses their centre in 2 * 0.5^5 = 6 % of all cases
_NORMAL = NormalDist()
_RESAMPLES = 4000
_CHUNK = 2**16  # counts at a time: they stay in the cache, and need no new pages


def wilson(correct: int, images: int, confidence: float = 0.95) -> Interval:
    """Return the share of correct images with Wilson's score interval, as ratios.

    Source: Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    _check(images, correct)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = correct / images
    centre = (correct + z * z / 2) / (images + z * z)
    half = z * math.sqrt(share * (1 - share) * images + z * z / 4) / (images + z * z)
    # At 0 and at all correct, the ends are exact but for rounding.
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == images else centre + half
    return Interval(value=share, low=low, high=high, confidence=confidence)


def paired_difference(lost: int, gained: int, images: int, confidence: float = 0.95) -> Interval:
    """Return how far the subject's accuracy lies below the reference's, as ratios, > 0 if worse.

    The score interval: every difference that the score test at this confidence does not reject.
    It holds its level for few and for no discordant images, where Wald's interval has width 0.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908.
    """
    _check(images, lost, gained)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    value = (lost - gained) / images

    def rejected(difference: float) -> bool:
        return abs(_score(lost, gained, images, difference)) > z

    low, high = _boundary(rejected, value, -1.0), _boundary(rejected, value, 1.0)
    return Interval(value=value, low=low, high=high, confidence=confidence)


def non_inferiority_p_value(lost: int, gained: int, images: int, margin: float) -> float:
    """Return the one-sided p-value against "the true drop is the margin or more".

    It is below 1 - c exactly if the upper end of ``paired_difference`` at the two-sided confidence
    2 c - 1 is below the margin, a ratio in (0, 1).
    """
    _check(images, lost, gained)
    return _NORMAL.cdf(_score(lost, gained, images, margin))


def mcnemar_exact(lost: int, gained: int) -> float:
    """Return the two-sided p-value against "both models are right equally often".

    Source: Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91 (2013).
    """
    _check(lost + gained + 1, lost, gained)
    chances = _binomial(lost + gained, 0.5)
    return min(1.0, 2 * float(chances[: min(lost, gained) + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that calling all below a level wrong errs at that level at most.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted


def smallest_detectable_drop(
    images: int, discordant_ratio: float, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Return the least drop, as a ratio, that so many images tell from none often enough.

    With a smaller margin, a student as good as the teacher passes by luck alone. ``images_needed``,
    turned round.

    Args:
        images: > 0.
        discordant_ratio: share of images that exactly one of the models has right.
        confidence: of the test, one-sided.
        power: how often a student as good as the teacher is to pass.
    """
    _check(images)

    def told_apart(margin: float) -> bool:
        needed = images_needed(margin, discordant_ratio, 0.0, confidence, power)
        return needed is not None and needed <= images

    return _boundary(told_apart, 0.0, 1.0)


def images_needed(
    margin: float,
    discordant_ratio: float,
    drop: float = 0.0,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Return about how many images tell a true drop from the margin, whichever is the greater.

    Args:
        margin: ratio, in (0, 1).
        discordant_ratio: share of images that exactly one of the models has right.
        drop: the true drop, as a ratio.
        confidence: of the test, one-sided.
        power: how often the test is to decide.

    Returns:
        None if the drop is the margin, for then no number of images decides.

    Source: Nam, Biometrics 53 (1997) 1422-1430; the discordant share under the hypothesis is
    taken as max(discordant_ratio, margin), which is exact where no image is discordant.
    """
    if drop == margin:
        return None
    at_margin = max(discordant_ratio, margin) - margin**2
    at_drop = max(discordant_ratio, abs(drop)) - drop**2
    need = _NORMAL.inv_cdf(confidence) * math.sqrt(at_margin)
    need += _NORMAL.inv_cdf(power) * math.sqrt(at_drop)
    return math.ceil((need / (margin - drop)) ** 2)


def fewest_samples(quantile: float, confidence: float = 0.95) -> int:
    """Return how many samples bound a quantile from above: 29 for p90, 299 for p99 at 95 %.

    The largest of n samples is below the quantile with the chance quantile^n.
    """
    return math.ceil(math.log(1 - confidence) / math.log(quantile))


def quantile_interval(
    samples: Sequence[float] | Floats, quantile: float, confidence: float = 0.95
) -> Interval | None:
    """Return a quantile with an interval between two of the samples, whatever their distribution.

    Each end takes half of the error; where even the outermost sample needs more than half, the
    other end takes what is left. The samples have to be independent: latencies that drift are not.

    Args:
        samples: in any order and unit, finite.
        quantile: in (0, 1); 0.5 for the median.
        confidence: two-sided; the interval's is at least that.

    Returns:
        None if there are too few: at 95 %, 6 for the median, 29 for p90, 299 for p99.

    Source: Hahn and Meeker, Statistical Intervals (1991), section 5.2.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    count = len(ordered)
    if count == 0:
        return None
    chances = _binomial(count, quantile)  # that so many samples lie below the quantile
    below = np.cumsum(chances)  # [k]: k or fewer
    above = np.cumsum(chances[::-1])  # [k]: count - k or more
    error = 1 - confidence
    if below[0] + above[0] > error:
        return None
    # The k-th smallest sample exceeds the quantile with the chance below[k - 1]; mirrored above.
    lowest = max(1, int((below <= error - max(error / 2, above[0])).sum()))
    highest = max(1, int((above <= error - max(error / 2, below[0])).sum()))
    return Interval(
        value=float(np.quantile(ordered, quantile)),
        low=float(ordered[lowest - 1]),
        high=float(ordered[count - highest]),
        confidence=confidence,
    )


def ratio_of_medians(
    reference_blocks: Floats, subject_blocks: Floats, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the subject's median over the reference's; see ``ratio_of_quantiles``."""
    return ratio_of_quantiles(reference_blocks, subject_blocks, 0.5, confidence, seed)


def ratio_of_quantiles(
    reference_blocks: Floats,
    subject_blocks: Floats,
    quantile: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return the subject's quantile over the reference's, with a paired block bootstrap.

    Block i of both was measured in turns, so what slowed one slowed the other: blocks are drawn
    whole and in pairs. So few of them give too narrow percentiles, which Student's t widens.

    Args:
        reference_blocks: [blocks, runs], > 0, in any unit.
        subject_blocks: [blocks, runs], in the same unit; runs may differ.
        quantile: in (0, 1); 0.5 for the median.
        confidence: two-sided.
        seed: of the draws.

    Returns:
        None if there are fewer than 6 blocks.

    Source: Hesterberg, The American Statistician 69 (2015) 371-386: expanded percentiles.
    """
    blocks = len(reference_blocks)
    if blocks != len(subject_blocks):
        raise ValueError(f"{blocks} blocks of the reference, {len(subject_blocks)} of the subject")
    if blocks < FEWEST_BLOCKS:
        return None
    from scipy import special  # 0.2 s, see above

    generator = np.random.default_rng(seed)
    draws = generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=_RESAMPLES)
    draws = np.vstack([np.ones_like(draws[:1]), draws])  # the first: as measured
    ratios = _quantiles(subject_blocks, draws, quantile)
    ratios /= _quantiles(reference_blocks, draws, quantile)
    value = float(ratios[0])
    t = float(special.stdtrit(blocks - 1, (1 - confidence) / 2))
    tail = _NORMAL.cdf(t * math.sqrt(blocks / (blocks - 1)))
    low, _, high = sorted([value, *np.quantile(ratios[1:], [tail, 1 - tail]).tolist()])
    return Interval(value=value, low=low, high=high, confidence=confidence)


def _check(images: int, *parts: int) -> None:
    if images < 1 or min(parts, default=0) < 0 or sum(parts) > images:
        raise ValueError(f"{parts} of {images} images is no count of images")


def _score(lost: int, gained: int, images: int, difference: float) -> float:
    """Return the score statistic, standard normal if ``difference`` is the true one."""
    a = 2 * images
    b = (2 * images - lost + gained) * difference - lost - gained
    c = gained * difference * (1 - difference)
    root = math.sqrt(max(0.0, b * b + 4 * a * c))  # never negative but by rounding
    # The likeliest share of gained images; the form without cancellation for either sign of b.
    share = 2 * c / (root + b) if b > 0 else (root - b) / (2 * a)
    distance = lost - gained - images * difference
    variance = images * (2 * share + difference * (1 - difference))
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _boundary(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where ``holds`` turns true on the way from ``inside`` to ``outside``, by bisection."""
    for _ in range(60):  # halves of 2 below the spacing of floats
        middle = (inside + outside) / 2
        if holds(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _binomial(count: int, share: float) -> NDArray[np.float64]:
    """Return the chances of 0 ... count successes, [count + 1]; share in (0, 1)."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # of factorials
    successes = np.arange(count + 1)
    ways = logs[-1] - logs - logs[::-1]
    odds = successes * math.log(share) + successes[::-1] * math.log1p(-share)
    return np.asarray(np.exp(ways + odds))


def _quantiles(blocks: Floats, draws: NDArray[np.integer], quantile: float) -> Floats:
    """Return the quantile of each draw, [draws]; a draw says how often each block is taken."""
    order = np.argsort(blocks, axis=None)
    samples, owners = blocks.ravel()[order], order // blocks.shape[1]
    place = quantile * (blocks.size - 1)  # among the sorted samples of a draw, from 0
    weight = place - math.floor(place)
    chunk = max(1, _CHUNK // blocks.size)
    found = []
    for start in range(0, len(draws), chunk):
        # How many samples of the draw are at most as large as each, smallest first.
        reached = np.cumsum(np.take(draws[start : start + chunk], owners, axis=1), axis=1)
        lower = np.count_nonzero(reached <= math.floor(place), axis=1)
        upper = np.count_nonzero(reached <= math.ceil(place), axis=1)
        found.append((1 - weight) * samples[lower] + weight * samples[upper])
    return np.concatenate(found)
