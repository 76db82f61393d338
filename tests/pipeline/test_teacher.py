"""Doubts about a teacher, by numbers worked out by hand."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgekd.core import specs
from edgekd.core.errors import UsageError
from edgekd.core.records import Checkpoint
from edgekd.data import sources
from edgekd.models import build, checkpoint
from edgekd.pipeline.teacher import misfit, open_spec


def record(top1_percent: float | None) -> Checkpoint:
    model = checkpoint.open_model("digits_resnet", classes=10)
    return model.record.model_copy(update={"validation_top1_percent": top1_percent})


def test_a_teacher_at_chance_is_doubted() -> None:
    doubt = misfit(record(10.5), 1000, None)
    assert doubt is not None
    assert "no better than chance" in doubt


def test_a_teacher_that_reaches_what_is_expected_is_not_doubted() -> None:
    assert misfit(record(91.0), 2000, 91.7) is None  # within the noise of 2,000 images


def test_a_teacher_far_below_what_is_expected_is_doubted() -> None:
    doubt = misfit(record(83.0), 2000, 93.4)
    assert doubt is not None
    assert "83.0 %" in doubt
    assert "93.4 %" in doubt
    assert "[teacher.train]" in doubt


def test_nothing_is_said_of_a_teacher_that_was_not_scored() -> None:
    assert misfit(record(None), 2000, 93.4) is None


def test_random_weights_follow_from_the_seed() -> None:
    from edgekd.pipeline.job import seeded

    with seeded(3):
        first = torch.rand(4)
    torch.rand(7)
    with seeded(3):
        again = torch.rand(4)
    assert torch.equal(first, again)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Weights of a network for 1000 classes."""
    torch.manual_seed(0)
    save_file(build.build("digits_resnet", 1000).state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_weights_for_other_classes_get_a_new_classifier_and_keep_the_rest(foreign: Path) -> None:
    splits = sources.load(specs.Data(source="digits"), seed=0)
    train = specs.Stage(epochs=1, learning_rate=0.1)
    spec = specs.Teacher(model="digits_resnet", weights=foreign, classes=1000, train=train)
    model = open_spec(spec, splits)
    old = checkpoint.open_model("digits_resnet", weights=foreign, classes=1000)
    assert model.record.classes == 10
    assert model.record.class_names == splits.class_names
    assert model.record.parameters == old.record.parameters - 990 * 33
    new, before = model.module.state_dict(), old.module.state_dict()
    assert new["linear.weight"].shape == (10, 32)
    assert 0 < new["linear.weight"].std() < 0.02
    assert not new["linear.bias"].any()
    assert all(torch.equal(new[name], before[name]) for name in new if "linear" not in name)


def test_weights_for_other_classes_must_be_trained(foreign: Path) -> None:
    splits = sources.load(specs.Data(source="digits"), seed=0)
    spec = specs.Teacher(model="digits_resnet", weights=foreign, classes=1000)
    with pytest.raises(
        UsageError, match=r"has 1000 classes, but the images have 10: add \[teacher"
    ):
        open_spec(spec, splits)
