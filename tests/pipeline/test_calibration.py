"""The examination of a calibration, on splits that leak."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgekd.core import specs
from edgekd.core.calibration import Checkup
from edgekd.core.specs import Quantize
from edgekd.data import sources
from edgekd.data.sources import Splits
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.pipeline import artifacts, calibration
from edgekd.quantize import qat

TARGET = Target.read("onnx-int8")


@pytest.fixture(scope="module")
def leaky() -> Splits:
    """Digits whose test images are training images."""
    splits = sources.load(specs.Data(source="digits"), seed=0)
    return replace(splits, test=splits.train)


@pytest.fixture(scope="module")
def trained(leaky: Splits) -> Checkup:
    """A student with ranges of its own, examined."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = checkpoint.open_model(
            "tests.pipeline.nets:tiny", classes=10, input_shape=(1, 8, 8), mean=(0.3,), std=(0.4,)
        )
    shown = [torch.from_numpy(x) for x in artifacts.batches(model, leaky.train, 16, 0)]
    qat.quantise(model.module, Quantize(), shown)
    return calibration.examine(model, TARGET, leaky, "digits", images=16, evaluated=8)


def test_test_images_among_the_calibration_images_are_found(trained: Checkup) -> None:
    assert trained.test_images == trained.images == 16
    assert "16 of the 16 calibration images are test images, too" in trained.findings[0]


def test_trained_ranges_are_left_alone(trained: Checkup) -> None:
    assert trained.trained_ranges > 0
    assert "images" not in {seen.tensor for seen in trained.tensors}


def test_the_recommended_calibrator_is_the_steadiest_of_the_near_ones(trained: Checkup) -> None:
    nearest = trained.choices[0].relative_l2
    near = [one for one in trained.choices if one.relative_l2 <= 1.1 * nearest]
    steadiest = min(near, key=lambda one: one.largest_move_percent)
    assert trained.recommended == steadiest.calibrator


def test_unbalanced_classes_are_not_enough(leaky: Splits) -> None:
    few = leaky.train.labels_n != 3
    few[np.flatnonzero(~few)[:2]] = True  # two images of a 3
    unbalanced = replace(leaky, train=leaky.train.take(np.flatnonzero(few)))
    model = checkpoint.open_model(
        "tests.pipeline.nets:tiny", classes=10, input_shape=(1, 8, 8), mean=(0.3,), std=(0.4,)
    )
    found = calibration.examine(model, TARGET, unbalanced, "digits", images=9999, evaluated=8)
    assert not found.enough
    assert found.lacks[0].endswith("images of '1', 2 of '3', more than 10 times as many")
    assert set(found.lacks) <= set(found.findings)
