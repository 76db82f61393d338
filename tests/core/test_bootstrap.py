import numpy as np
import pytest

from edgekd.core import bootstrap, statistics

# Published tables of pairs, (lost, gained, images), whose score intervals are tested beside these:
# Bentur's airways, and those of Yang, Sun and Hardin.
PUBLISHED = [(40, 20, 160), (6, 16, 161), (3, 9, 30), (1, 7, 21)]


@pytest.mark.parametrize("counts", PUBLISHED)
def test_bootstrap_agrees_with_tangos_interval(counts: tuple[int, int, int]) -> None:
    # Tango's is wider at the far end, most so for few images: 0.04 of 21.
    drawn, score = (of.paired_difference(*counts) for of in (bootstrap, statistics))
    assert drawn.value == score.value
    near = 1 / counts[2]  # one image
    assert drawn.low == pytest.approx(score.low, abs=near)
    assert drawn.high == pytest.approx(score.high, abs=near)


def test_ends_are_those_of_the_normal_distribution_for_many_images() -> None:
    # 600 lost, 400 gained of 20,000: 1 pp, standard error sqrt(0.05 - 0.0001) / sqrt(20,000).
    found = bootstrap.paired_difference(600, 400, 20_000, confidence=0.9)
    half = 1.645 * np.sqrt(0.0499 / 20_000)
    assert (found.low, found.high) == pytest.approx((0.01 - half, 0.01 + half), abs=1e-4)


def test_exchanging_the_models_mirrors_the_interval() -> None:
    there, back = (bootstrap.paired_difference(*of, 500) for of in ((40, 20), (20, 40)))
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.002)


def test_same_seed_gives_the_same_interval() -> None:
    one, same, other = (bootstrap.paired_difference(40, 21, 997, seed=s) for s in (1, 1, 2))
    assert one == same
    assert one.value == other.value


def test_all_images_lost_is_a_drop_of_one() -> None:
    found = bootstrap.paired_difference(30, 0, 30)
    assert (found.low, found.value, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("margin", "low", "high"), [(0.02, 0.0, 0.01), (0.1, 0.99, 1.0)])
def test_p_value_is_small_where_the_drop_is_surely_more_than_the_margin(
    margin: float, low: float, high: float
) -> None:
    assert low <= bootstrap.p_value(80, 20, 1000, margin) <= high
