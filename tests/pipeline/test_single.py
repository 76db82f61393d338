"""A model as it is named on the command line."""

from pathlib import Path

import pytest

from edgekd.core.errors import UsageError
from edgekd.models import checkpoint
from edgekd.models.surgery import Surgery
from edgekd.pipeline.single import ModelArguments


def test_the_size_of_the_images_holds_without_images_too() -> None:
    model = ModelArguments("digits_resnet", classes=10, image_size=16).open(None)
    assert model.record.input_shape == (1, 16, 16)
    small = ModelArguments("digits_resnet", classes=10).open(None)
    assert small.record.input_shape == (1, 8, 8)
    assert model.record.macs > 3 * small.record.macs


def test_another_size_than_a_checkpoint_s_is_refused_without_images_too(tmp_path: Path) -> None:
    model = ModelArguments("digits_resnet", classes=10).open(None)
    folder = str(tmp_path / "net")
    checkpoint.save(Path(folder), model.module, model.record, Surgery.none())
    assert ModelArguments(folder, image_size=8).open(None).record.input_shape == (1, 8, 8)
    with pytest.raises(UsageError, match=r"takes images of \[1, 8, 8\] .* they are \[1, 16, 16\]"):
        ModelArguments(folder, image_size=16).open(None)


def test_a_name_that_nothing_has_is_told_before_its_classes_are_asked_for() -> None:
    with pytest.raises(UsageError, match="no model is called 'pruned', and no checkpoint folder"):
        ModelArguments("pruned").open(None)
