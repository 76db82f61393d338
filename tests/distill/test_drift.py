from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.distill import drift
from tests.distill import toys

TOLERANCE = 1e-9


def features(seed: int, images: int = 12, width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, width, generator=generator, dtype=torch.float64)


def rotation(seed: int, width: int) -> Tensor:
    return torch.linalg.qr(features(seed, width, width))[0]


def test_a_value_worked_out_by_hand() -> None:
    # Centred X = (-1, 0, 1), Y = (-1, 1, 0) ... (Y'X)^2 = 1, X'X = Y'Y = 2: CKA = 1/4.
    one, other = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [1.0]])
    assert drift.linear_cka(one, other) == pytest.approx(0.25)
    assert drift.drift(one, other) == pytest.approx(0.75)


def test_directions_that_have_nothing_in_common_drift_by_one() -> None:
    one, other = (
        torch.tensor([[1.0], [-1.0], [1.0], [-1.0]]),
        torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]),
    )
    assert drift.drift(one, other) == pytest.approx(1.0)


def test_equal_features_do_not_drift() -> None:
    rows = features(0)
    assert drift.drift(rows, rows.clone()) == pytest.approx(0.0, abs=TOLERANCE)


@given(
    seed=st.integers(0, 1000),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-10, 10),
    width=st.sampled_from([3, 30]),
)
def test_rotation_scale_and_place_do_not_matter(
    seed: int, scale: float, shift: float, width: int
) -> None:
    one, other = features(seed, width=width), features(seed + 1, width=width)
    moved = scale * other @ rotation(seed + 2, width) + shift
    assert drift.linear_cka(one, moved) == pytest.approx(drift.linear_cka(one, other), rel=1e-6)


@given(seed=st.integers(0, 1000), width=st.sampled_from([3, 30]))
def test_the_order_does_not_matter_and_the_value_is_a_share(seed: int, width: int) -> None:
    one, other = features(seed), features(seed + 1, width=width)
    found = drift.linear_cka(one, other)
    assert 0 <= found <= 1
    assert found == pytest.approx(drift.linear_cka(other, one))


def test_stretching_one_direction_does_matter() -> None:
    rows = features(0)
    stretched = rows * torch.tensor([100.0, 1, 1, 1, 1])
    found = drift.drift(rows, stretched)
    assert found is not None
    assert found > 0.1


def test_kernels_over_images_and_over_features_agree() -> None:
    # 12 images: 5 features are compared by features; padded to 20 by images.
    one, other = features(0), features(1)
    padded = torch.cat([one, torch.zeros(12, 15, dtype=torch.float64)], dim=1)
    assert drift.linear_cka(padded, other) == pytest.approx(drift.linear_cka(one, other))


def test_features_without_variation_have_no_alignment() -> None:
    with pytest.raises(ValueError, match="equal for all images"):
        drift.linear_cka(torch.ones(4, 2), features(0, 4, 2))
    assert drift.drift(torch.ones(4, 2), features(0, 4, 2)) is None


def test_rows_must_be_about_the_same_images() -> None:
    with pytest.raises(ValueError, match="4 meet 3 rows"):
        drift.linear_cka(features(0, 4), features(0, 3))


def test_what_the_classifier_reads_gives_the_logits() -> None:
    module = toys.network().train()
    images = toys.images(7, 0)
    rows_nd = drift.penultimate(module, "linear", images, toys.NORMALISATION)
    expected = toys.score.predict(module, images, toys.NORMALISATION)
    assert torch.allclose(module.linear(rows_nd), torch.from_numpy(expected), atol=1e-5)
    assert module.training


def test_no_more_than_a_thousand_images_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "IMAGES", 5)
    rows_nd = drift.penultimate(toys.network(), "linear", toys.images(7, 0), toys.NORMALISATION)
    assert len(rows_nd) == 5


def test_the_first_epoch_of_a_training_tells_its_drift(tmp_path: Path) -> None:
    _, training = toys.fit(tmp_path, toys.stage())
    first, *others = [epoch.feature_drift for epoch in training.epochs]
    assert first is not None
    assert 0 < first < 1
    assert others == [None, None]


def test_a_frozen_backbone_does_not_drift(tmp_path: Path) -> None:
    _, training = toys.fit(tmp_path, toys.stage(trainable="classifier"))
    assert training.epochs[0].feature_drift == pytest.approx(0.0, abs=TOLERANCE)
