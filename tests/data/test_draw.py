import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.data.draw import draw


def test_shares_match_values_worked_out_by_hand() -> None:
    # 5, 3 and 2 images; 5 wanted: 2.5, 1.5, 1.0. What is left over goes to the first of the equals.
    labels_n = np.repeat([0, 1, 2], [5, 3, 2])
    chosen = draw(labels_n, 5, np.random.default_rng(0))
    assert np.bincount(labels_n[chosen]).tolist() == [3, 1, 1]


def test_least_is_kept_where_the_share_would_be_nothing() -> None:
    labels_n = np.repeat([0, 1], [99, 1])
    without = draw(labels_n, 2, np.random.default_rng(0))
    least = draw(labels_n, 2, np.random.default_rng(0), least=1)
    assert labels_n[without].tolist() == [0, 0]
    assert labels_n[least].tolist() == [0, 1]


def test_another_generator_draws_other_images_of_the_same_classes() -> None:
    labels_n = np.arange(400) % 4
    one, two = (draw(labels_n, 40, np.random.default_rng(seed)) for seed in (0, 1))
    assert one.tolist() != two.tolist()
    assert np.bincount(labels_n[one]).tolist() == np.bincount(labels_n[two]).tolist()


@settings(deadline=None)
@given(st.data(), st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 1))
def test_a_draw_is_exact_ascending_without_repeats_and_fair(
    data: st.DataObject, labels: list[int], least: int
) -> None:
    labels_n = np.array(labels)
    sizes = np.bincount(labels_n, minlength=6)
    count = data.draw(st.integers(least * int((sizes > 0).sum()), len(labels)))
    chosen = draw(labels_n, count, np.random.default_rng(1), least=least)
    shares = np.bincount(labels_n[chosen], minlength=6)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert (shares >= np.minimum(sizes, least)).all()
    if not least:
        assert (np.abs(shares - sizes * count / len(labels)) < 1).all()
