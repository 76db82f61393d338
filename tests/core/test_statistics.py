import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import statistics
from edgekd.core.records import Interval


@st.composite
def paired_counts(draw: st.DrawFn) -> tuple[int, int, int]:
    images = draw(st.integers(1, 5000))
    lost = draw(st.integers(0, images))
    return lost, draw(st.integers(0, images - lost)), images


def newcombe_10(a: int, lost: int, gained: int, d: int) -> tuple[float, float]:
    """Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10, worked from the paper."""
    images = a + lost + gained + d
    first = statistics.wilson(a + lost, images)
    second = statistics.wilson(a + gained, images)
    product = a * d - lost * gained
    if product > images / 2:
        product = product - images / 2
    elif product >= 0:
        product = 0
    scale = math.sqrt((a + lost) * (gained + d) * (a + gained) * (lost + d))
    phi = product / scale if scale else 0.0

    def reach(p: float, q: float) -> float:
        return math.sqrt(p * p - 2 * phi * p * q + q * q)

    value = (lost - gained) / images
    low = value - reach(first.value - first.low, second.high - second.value)
    high = value + reach(second.value - second.low, first.high - first.value)
    return low, high


# Wilson


def test_wilson_agrees_with_newcombes_published_examples() -> None:
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (correct, images), (low, high) in published.items():
        found = statistics.wilson(correct, images)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_ends_exactly_at_zero_and_one() -> None:
    assert statistics.wilson(0, 7).low == 0.0
    assert statistics.wilson(7, 7).high == 1.0


@given(st.integers(1, 10_000), st.data(), st.floats(0.5, 0.999))
def test_wilson_contains_the_share_and_lies_in_0_to_1(
    images: int, data: st.DataObject, confidence: float
) -> None:
    correct = data.draw(st.integers(0, images))
    found = statistics.wilson(correct, images, confidence)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_wilson_is_half_as_wide_for_four_times_the_images() -> None:
    few, many = statistics.wilson(900, 1000), statistics.wilson(3600, 4000)
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize(("correct", "images"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(correct: int, images: int) -> None:
    with pytest.raises(ValueError, match="no count of images"):
        statistics.wilson(correct, images)


# Paired difference


def test_paired_difference_agrees_with_the_published_airway_example() -> None:
    # Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014) 2850-2875: Bentur's data,
    # (1, 1, 7, 12); Tango's interval is (-0.517, -0.026).
    found = statistics.paired_difference(1, 7, 21)
    assert found.value == pytest.approx(-6 / 21)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_non_inferiority_agrees_with_tangos_lens_example() -> None:
    # Tango 1998, section 5: 44 pairs, 43 of them (1, 1), 1 (0, 1), margin 0.1: Z = 1.709.
    p_value = statistics.non_inferiority_p_value(1, 0, 44, 0.1)
    assert scipy.stats.norm.isf(p_value) == pytest.approx(1.709, abs=1e-3)


@pytest.mark.parametrize(
    ("lost", "gained", "images"), [(1, 7, 21), (40, 20, 160), (6, 16, 161), (1, 0, 44), (3, 9, 30)]
)
def test_ends_of_the_paired_difference_solve_the_published_quartic(
    lost: int, gained: int, images: int
) -> None:
    # Yang, Sun and Hardin, Statistics in Medicine 32 (2013) 1336-1342: the same interval without
    # iteration.
    g, diff, both = scipy.stats.norm.isf(0.025) ** 2, lost - gained, lost + gained
    n = images
    quartic = [
        n**2 * (n / g + 1) ** 2,
        -n * diff * (n / g + 1) * (4 * n / g + 1),
        2 * n * diff**2 * (3 * n / g + 2) / g - n**2 * (both / g + 1),
        n * diff * (2 * both / g + 1) - diff**3 * (4 * n / g + 1) / g,
        diff**2 * (diff**2 / g - both) / g,
    ]
    found = statistics.paired_difference(lost, gained, images)
    slope = np.polyval(np.polyder(quartic), [found.low, found.high])
    errors = np.polyval(quartic, [found.low, found.high]) / slope
    assert errors == pytest.approx([0, 0], abs=1e-9)


def test_newcombes_method_10_agrees_with_its_published_example() -> None:
    # Fagerland, Lydersen and Laake 2017, chapter 8: Cavo's data; the check of the check below.
    assert newcombe_10(59, 6, 16, 80) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "lost", "gained", "d"), [(950, 12, 6, 32), (8000, 300, 250, 1450), (59, 6, 16, 80)]
)
def test_paired_difference_agrees_with_newcombes_method_10(
    a: int, lost: int, gained: int, d: int
) -> None:
    found = statistics.paired_difference(lost, gained, a + lost + gained + d)
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(newcombe_10(a, lost, gained, d), abs=width / 10)


def test_no_discordant_image_gives_wilsons_bound_on_both_sides() -> None:
    # z^2 / (n + z^2), from Tango's statistic with b = c = 0: never an interval of width 0.
    found = statistics.paired_difference(0, 0, 50)
    bound = statistics.wilson(0, 50).high
    assert (found.low, found.value, found.high) == pytest.approx((-bound, 0, bound))


def test_all_images_lost_is_a_drop_of_one() -> None:
    found = statistics.paired_difference(50, 0, 50)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.8 < found.low < 0.95


def test_one_image_says_next_to_nothing() -> None:
    found = statistics.paired_difference(0, 0, 1)
    assert found.low < -0.75
    assert found.high > 0.75


@given(paired_counts(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_paired_difference_contains_the_estimate_inside_minus_one_to_one(
    counts: tuple[int, int, int], confidence: float
) -> None:
    found = statistics.paired_difference(*counts, confidence)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@given(paired_counts())
def test_exchanging_the_models_mirrors_the_paired_difference(counts: tuple[int, int, int]) -> None:
    lost, gained, images = counts
    found = statistics.paired_difference(lost, gained, images)
    mirrored = statistics.paired_difference(gained, lost, images)
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), abs=1e-9)


@given(paired_counts())
def test_paired_difference_is_narrower_with_ten_times_the_images(
    counts: tuple[int, int, int],
) -> None:
    few = statistics.paired_difference(*counts)
    many = statistics.paired_difference(*(10 * count for count in counts))
    assert many.high - many.low < few.high - few.low


@given(paired_counts(), st.floats(0.001, 0.5))
def test_non_inferiority_test_and_interval_never_disagree(
    counts: tuple[int, int, int], margin: float
) -> None:
    high = statistics.paired_difference(*counts, 0.9).high
    if abs(high - margin) > 1e-9:
        assert (statistics.non_inferiority_p_value(*counts, margin) < 0.05) == (high < margin)


def exact_coverage(images: int, discordant: float, drop: float, confidence: float) -> float:
    """Sum the chances of all tables whose interval contains the true drop."""
    p_lost, p_gained = (discordant + drop) / 2, (discordant - drop) / 2
    total = 0.0
    for lost, gained in itertools.product(range(images + 1), repeat=2):
        if lost + gained > images:
            continue
        counts = [lost, gained, images - lost - gained]
        chance = scipy.stats.multinomial.pmf(counts, images, [p_lost, p_gained, 1 - discordant])
        if chance > 1e-7:
            found = statistics.paired_difference(lost, gained, images, confidence)
            total += chance * (found.low <= drop <= found.high)
    return total


@pytest.mark.parametrize(("discordant", "drop"), [(0.1, 0.0), (0.2, 0.1), (0.5, 0.2)])
def test_paired_difference_covers_the_truth_as_often_as_it_says(
    discordant: float, drop: float
) -> None:
    # With 30 images the counts are coarse, so the coverage can only be near 90 %.
    assert 0.87 < exact_coverage(30, discordant, drop, 0.9) < 0.97


def test_a_drop_at_the_margin_passes_as_seldom_as_it_may() -> None:
    images, margin = 719, 0.02
    chances = [0.05, 0.03, 0.92]
    passed = [
        statistics.non_inferiority_p_value(lost, gained, images, margin) < 0.05
        for lost, gained, _ in np.random.default_rng(0).multinomial(images, chances, size=4000)
    ]
    assert np.mean(passed) == pytest.approx(0.05, abs=0.012)  # standard error 0.0034


def test_p_value_of_an_impossible_drop_is_zero() -> None:
    assert statistics.non_inferiority_p_value(0, 0, 10, 1.0) == 0.0


# McNemar


def test_mcnemar_agrees_with_the_published_airway_example() -> None:
    # Fagerland, Lydersen and Laake 2013: Bentur's data, 1 and 7 discordant pairs:
    # exact 2 * (1 + 8) / 256 = 0.0703.
    assert statistics.mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_no_discordant_image_is_no_evidence() -> None:
    assert statistics.mcnemar_exact(0, 0) == 1.0


def test_as_many_lost_as_gained_is_no_evidence() -> None:
    assert statistics.mcnemar_exact(9, 9) == 1.0


def test_ten_lost_and_none_gained_are_ten_flips_of_a_coin() -> None:
    assert statistics.mcnemar_exact(10, 0) == pytest.approx(2 / 2**10)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test_and_symmetric(lost: int, gained: int) -> None:
    p_value = statistics.mcnemar_exact(lost, gained)
    assert p_value == pytest.approx(statistics.mcnemar_exact(gained, lost))
    if lost + gained:
        expected = scipy.stats.binomtest(lost, lost + gained).pvalue
        assert p_value == pytest.approx(expected, rel=1e-6, abs=1e-200)


# Holm


def test_holm_agrees_with_a_case_worked_by_hand() -> None:
    # Smallest times 4; then 0.01 * 3; 0.03 * 2; 0.04 * 1, but never below the one before.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_nothing_is_nothing() -> None:
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferronis(p_values: list[float]) -> None:
    for adjusted, p_value in zip(statistics.holm(p_values), p_values, strict=True):
        assert p_value <= adjusted <= 1
        if p_value == min(p_values):
            assert adjusted == pytest.approx(min(1, len(p_values) * p_value))


# Power


def test_detectable_drop_follows_nams_formula() -> None:
    # n d^2 = (1.6449 sqrt(0.1 - d^2) + 0.8416 sqrt(0.1))^2 at n = 1000: d = 0.02481.
    drop = statistics.smallest_detectable_drop(1000, 0.1)
    need = 1.6449 * math.sqrt(0.1 - drop**2) + 0.8416 * math.sqrt(0.1)
    assert 1000 * drop**2 == pytest.approx(need**2, rel=1e-3)  # images are whole
    assert drop == pytest.approx(0.02481, abs=2e-5)


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_a_margin_of_the_detectable_drop_needs_no_more_images(images: int, ratio: float) -> None:
    drop = statistics.smallest_detectable_drop(images, ratio)
    needed = statistics.images_needed(drop, ratio) if drop < 1 else images
    assert needed is not None
    assert needed <= images
    more = statistics.images_needed(drop * 0.99, ratio)
    assert more is not None
    assert more >= images


def test_detectable_drop_is_found_by_the_test_as_often_as_promised() -> None:
    images, discordant = 2000, 0.08
    drop = statistics.smallest_detectable_drop(images, discordant)
    generator = np.random.default_rng(0)
    chances = [(discordant + drop) / 2, (discordant - drop) / 2, 1 - discordant]
    found = [
        statistics.non_inferiority_p_value(gained, lost, images, 1e-12) < 0.05
        for lost, gained, _ in generator.multinomial(images, chances, size=2000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)  # standard error 0.009


def test_detectable_drop_without_discordant_images_is_still_more_than_zero() -> None:
    # Tango's bound without a discordant image: z^2 / (n + z^2) = 2.706 / 1002.7
    assert statistics.smallest_detectable_drop(1000, 0.0) == pytest.approx(0.0027, abs=5e-6)


def test_one_image_detects_next_to_nothing() -> None:
    assert statistics.smallest_detectable_drop(1, 0.5) > 0.9


def test_images_needed_agree_with_a_case_worked_by_hand() -> None:
    # No drop, 5 % discordant, margin 1 pp:
    # (1.6449 sqrt(0.05 - 0.0001) + 0.8416 sqrt(0.05))^2 / 0.0001 = 3088
    assert statistics.images_needed(0.01, 0.05) == 3088


def test_no_number_of_images_decides_at_the_margin() -> None:
    assert statistics.images_needed(0.01, 0.05, drop=0.01) is None


def test_images_needed_without_discordant_images_are_just_enough_for_the_interval() -> None:
    needed = statistics.images_needed(0.01, 0.0)
    assert needed is not None
    assert statistics.paired_difference(0, 0, needed, 0.9).high <= 0.01
    assert statistics.paired_difference(0, 0, needed - 1, 0.9).high > 0.01


def test_images_needed_decide_as_often_as_promised() -> None:
    needed = statistics.images_needed(0.02, 0.06, drop=0.005)
    assert needed is not None
    chances = [0.0325, 0.0275, 0.94]
    passed = [
        statistics.non_inferiority_p_value(lost, gained, needed, 0.02) < 0.05
        for lost, gained, _ in np.random.default_rng(0).multinomial(needed, chances, size=2000)
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.03)


# Quantiles


def test_fewest_samples_are_the_ones_in_every_table() -> None:
    # 1 - q^n >= confidence; e.g. MLPerf and Hahn and Meeker's table.
    expected = {(0.9, 0.95): 29, (0.9, 0.99): 44, (0.99, 0.95): 299, (0.99, 0.99): 459}
    assert {case: statistics.fewest_samples(*case) for case in expected} == expected


@pytest.mark.parametrize(("quantile", "fewest"), [(0.5, 6), (0.9, 29), (0.99, 299)])
def test_a_quantile_has_an_interval_from_the_fewest_samples_on(
    quantile: float, fewest: int
) -> None:
    assert statistics.quantile_interval(np.arange(fewest - 1.0), quantile) is None
    assert statistics.quantile_interval(np.arange(fewest * 1.0), quantile) is not None


def test_median_of_ten_lies_between_the_second_and_the_ninth() -> None:
    # The textbook's case: coverage 1 - 2 * (1 + 10) / 1024 = 0.979.
    found = statistics.quantile_interval([9, 1, 5, 3, 7, 2, 8, 4, 10, 6], 0.5)
    assert found == Interval(value=5.5, low=2, high=9, confidence=0.95)


def test_nothing_has_no_quantile() -> None:
    assert statistics.quantile_interval([], 0.5) is None


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [6, 30, 299, 400])
def test_quantile_interval_covers_at_least_what_it_says(quantile: float, count: int) -> None:
    # Samples 1 ... n stand for order statistics l and h: coverage P(l <= Bin(n, q) < h).
    found = statistics.quantile_interval(np.arange(1.0, count + 1), quantile)
    if found is None:
        return
    below = scipy.stats.binom(count, quantile).cdf
    assert below(found.high - 1) - below(found.low - 1) >= 0.95


def test_quantile_interval_is_not_wider_than_it_must_be() -> None:
    found = statistics.quantile_interval(np.arange(1.0, 101), 0.5)
    assert found is not None
    assert (found.low, found.high) == (40, 61)  # in every table of the median's interval


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=400), st.sampled_from([0.1, 0.5, 0.9]))
def test_quantile_interval_contains_the_quantile(samples: list[float], quantile: float) -> None:
    found = statistics.quantile_interval(samples, quantile)
    if found is not None:
        assert min(samples) <= found.low <= found.value <= found.high <= max(samples)


# Ratio of medians


def noisy_blocks(
    blocks: int, seed: int, *, median: float = 1.0, drift: np.ndarray | float = 0.0
) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.02, size=(blocks, 15))
    return median * np.exp(noise + np.reshape(drift, (-1, 1)))


def test_ratio_is_that_of_the_medians() -> None:
    reference, subject = noisy_blocks(8, 0), noisy_blocks(8, 1, median=0.5)
    found = statistics.ratio_of_medians(reference, subject)
    assert found is not None
    assert found.value == np.median(subject) / np.median(reference)


def test_same_samples_have_a_ratio_of_exactly_one() -> None:
    blocks = noisy_blocks(8, 0)
    found = statistics.ratio_of_medians(blocks, blocks)
    assert found == Interval(value=1, low=1, high=1, confidence=0.95)


def test_what_slows_both_down_does_not_widen_the_ratio() -> None:
    drift = np.linspace(0, 1, 20)  # the machine gets 2.7 times as slow
    steady = statistics.ratio_of_medians(noisy_blocks(20, 0), noisy_blocks(20, 1))
    drifting = statistics.ratio_of_medians(
        noisy_blocks(20, 0, drift=drift), noisy_blocks(20, 1, drift=drift)
    )
    shuffled = statistics.ratio_of_medians(
        noisy_blocks(20, 0, drift=drift), noisy_blocks(20, 1, drift=drift[::-1])
    )
    assert steady is not None
    assert drifting is not None
    assert shuffled is not None
    assert drifting.high - drifting.low < 10 * (steady.high - steady.low)
    assert drifting.high - drifting.low < (shuffled.high - shuffled.low) / 3


def test_ratio_is_the_same_for_the_same_seed_alone() -> None:
    blocks = noisy_blocks(8, 0), noisy_blocks(8, 1)
    first = statistics.ratio_of_medians(*blocks, seed=3)
    assert statistics.ratio_of_medians(*blocks, seed=3) == first
    assert statistics.ratio_of_medians(*blocks, seed=4) != first


def test_fewer_than_six_blocks_have_no_interval() -> None:
    assert statistics.ratio_of_medians(noisy_blocks(5, 0), noisy_blocks(5, 1)) is None
    assert statistics.ratio_of_medians(noisy_blocks(6, 0), noisy_blocks(6, 1)) is not None


def test_blocks_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="8 blocks of the reference, 7"):
        statistics.ratio_of_medians(noisy_blocks(8, 0), noisy_blocks(7, 1))


def test_weighted_quantiles_are_those_of_the_copied_blocks() -> None:
    for runs in (4, 5):  # an even and an odd number of samples
        blocks = np.random.default_rng(0).normal(size=(7, runs))
        draws = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), size=50)
        for quantile in (0.5, 0.9, 0.99):
            copied = [np.quantile(np.repeat(blocks, draw, axis=0), quantile) for draw in draws]
            assert statistics._quantiles(blocks, draws, quantile) == pytest.approx(copied)


def test_percentiles_of_six_blocks_are_widened_to_students_t() -> None:
    # t(0.025, 5) = -2.5706 times sqrt(6 / 5) is -2.8160: its normal tail is 0.00243, not 0.025.
    reference, subject = noisy_blocks(6, 0), noisy_blocks(6, 1)
    draws = np.random.default_rng(5).multinomial(6, np.full(6, 1 / 6), size=4000)
    medians = [statistics._quantiles(blocks, draws, 0.5) for blocks in (subject, reference)]
    expected = np.quantile(medians[0] / medians[1], [0.00243, 0.99757])
    found = statistics.ratio_of_medians(reference, subject, seed=5)
    assert found is not None
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-5)


def test_ratio_covers_the_truth_as_often_as_it_says() -> None:
    # Blocks have a level of their own, as on a real machine; 8 of them, at 80 %.
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        levels = generator.normal(0, 0.02, size=(2, 8))
        found = statistics.ratio_of_medians(
            noisy_blocks(8, 2 * seed, drift=levels[0]),
            noisy_blocks(8, 2 * seed + 1, drift=levels[1]),
            confidence=0.8,
        )
        assert found is not None
        inside += found.low <= 1 <= found.high
    assert inside / 100 == pytest.approx(0.8, abs=0.1)  # standard error 0.04


def test_ratio_of_a_tail_sees_what_medians_do_not() -> None:
    # One run in five of the subject's takes three times as long: p50 alike, p90 three times.
    reference = np.ones((6, 20))
    subject = np.where(np.arange(20) % 5 == 0, 3.0, 1.0) * reference
    medians = statistics.ratio_of_quantiles(reference, subject, 0.5)
    tails = statistics.ratio_of_quantiles(reference, subject, 0.9)
    assert medians is not None
    assert tails is not None
    assert (medians.low, medians.high, tails.low, tails.high) == (1.0, 1.0, 3.0, 3.0)


def test_importing_the_statistics_does_not_import_scipy() -> None:
    code = "import sys, edgekd.core.statistics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
