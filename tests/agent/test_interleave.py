from collections import Counter

import pytest

from edgekd.agent import interleave


def test_order_is_rotated_by_one_in_each_round() -> None:
    assert [interleave.order(3, turn) for turn in range(4)] == [
        [0, 1, 2],
        [1, 2, 0],
        [2, 0, 1],
        [0, 1, 2],
    ]


@pytest.mark.parametrize("subjects", [1, 2, 5])
def test_each_subject_is_at_each_place_equally_often(subjects: int) -> None:
    places = Counter(
        (place, subject)
        for turn in range(2 * subjects)
        for place, subject in enumerate(interleave.order(subjects, turn))
    )
    assert set(places.values()) == {2}
    assert len(places) == subjects**2
