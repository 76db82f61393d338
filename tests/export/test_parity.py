"""How closely an artifact follows its checkpoint."""

import numpy as np
import pytest

from edgekd.core.errors import ExportError
from edgekd.export.parity import compare

LOGITS_NK = np.array([[3.0, 1.0], [1.0, 3.0]], np.float32)  # standard deviation 1


def test_error_is_measured_in_standard_deviations_of_the_logits() -> None:
    found_nk = LOGITS_NK + np.array([[0.0, 0.0], [0.0, 0.2]], np.float32)
    found = compare(LOGITS_NK, found_nk, tolerance=0.25)
    assert found.max_error == pytest.approx(0.2)
    assert found.relative_error == pytest.approx(0.2)
    assert found.mean_error == pytest.approx(0.05)
    assert found.state == "passed"
    assert compare(LOGITS_NK, found_nk, tolerance=0.15).state == "failed"


def test_scale_of_the_logits_does_not_matter() -> None:
    found_nk = LOGITS_NK * np.float32(1.1)
    for scale in (np.float32(0.01), np.float32(1000)):
        found = compare(LOGITS_NK * scale, found_nk * scale, 0.5)
        assert found.relative_error == pytest.approx(0.3, rel=1e-5)


def test_what_all_images_have_in_common_counts_for_nothing() -> None:
    shift_k = np.array([1000.0, -1000.0], np.float32)
    found_nk = LOGITS_NK + np.float32(0.5)
    found = compare(LOGITS_NK + shift_k, found_nk + shift_k, tolerance=0.1)
    assert found.relative_error == pytest.approx(0.5, rel=1e-3)


def test_logits_that_do_not_depend_on_the_image_prove_nothing() -> None:
    logits_nk = np.tile(np.array([4e-9, -4e-9], np.float32), (8, 1))
    found = compare(logits_nk, logits_nk, tolerance=0.1)
    assert found.state == "inconclusive"
    assert found.relative_error == 0


def test_agreement_and_least_cosine_over_the_images() -> None:
    found_nk = np.array([[3.0, 1.0], [3.0, 1.0]], np.float32)
    found = compare(LOGITS_NK, found_nk, tolerance=0.1)
    assert found.top1_agreement_ratio == 0.5
    assert found.cosine == pytest.approx(-1)


def test_one_image_is_judged_by_the_spread_of_its_classes() -> None:
    assert compare(LOGITS_NK[:1], LOGITS_NK[:1], 0.1).state == "passed"


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ExportError, match=r"\[2, 3\], its checkpoint \[2, 2\]"):
        compare(LOGITS_NK, np.zeros((2, 3), np.float32), 0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    found_nk = LOGITS_NK.copy()
    found_nk[0, 0] = bad
    with pytest.raises(ExportError, match="not finite"):
        compare(LOGITS_NK, found_nk, 0.1)
    with pytest.raises(ExportError, match="not finite"):
        compare(found_nk, LOGITS_NK, 0.1)
