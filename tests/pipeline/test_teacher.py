"""Doubts about a teacher, by numbers worked out by hand."""

from edgekd.core.records import Checkpoint
from edgekd.models import checkpoint
from edgekd.pipeline.teacher import misfit


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
    import torch

    from edgekd.pipeline.job import seeded

    with seeded(3):
        first = torch.rand(4)
    torch.rand(7)
    with seeded(3):
        again = torch.rand(4)
    assert torch.equal(first, again)
