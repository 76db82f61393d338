from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.core.errors import UsageError
from edgekd.data.augment import normalise
from edgekd.data.images import image_set
from edgekd.distill.optim import Schedule
from edgekd.models import score
from tests.distill import toys
from tests.distill.toys import fit, model, same, stage


def test_training_learns_and_returns_the_best_epoch_by_validation(tmp_path: Path) -> None:
    trained, record = fit(tmp_path, stage(epochs=6))
    found = [epoch.validation_top1_percent for epoch in record.epochs]
    assert max(found) > 80  # chance is 33
    assert found[record.best_epoch - 1] == max(found)
    again = score.top1_percent(trained, toys.splits().validation, toys.NORMALISATION)
    assert again == max(found)


def test_of_equal_epochs_the_last_one_is_kept(tmp_path: Path) -> None:
    # At this rate the predictions stay what they are.
    _, record = fit(tmp_path, stage(learning_rate=1e-12, epochs=2, batch_norm="frozen"))
    assert record.best_epoch == 2


def test_weights_at_the_start_count_as_epoch_0(tmp_path: Path) -> None:
    good, _ = fit(tmp_path / "good", stage(epochs=6))
    harmful = stage(epochs=1, learning_rate=0.5, ce=0, methods=[{"name": "kd"}])
    student = model(module=good)
    trained, record = fit(tmp_path / "bad", harmful, student, model(99))
    assert record.best_epoch == 0
    assert record.epochs[0].validation_top1_percent < 60
    assert same(trained, good)


def test_no_epochs_return_the_student_as_it_was(tmp_path: Path) -> None:
    trained, record = fit(tmp_path, stage(epochs=0))
    assert same(trained, toys.network())
    assert (record.epochs, record.best_epoch) == ((), 0)


def test_student_and_teacher_are_left_alone(tmp_path: Path) -> None:
    student, teacher = model(0), model(1)
    student.module.train()
    trained, _ = fit(tmp_path, toys.distilling(epochs=1), student, teacher)
    assert same(student.module, toys.network(0))
    assert same(teacher.module, toys.network(1))
    assert student.module.training
    assert not trained.training
    for module in (student.module, teacher.module, trained):
        assert all(parameter.requires_grad for parameter in module.parameters())
        assert not any(p._forward_hooks or p._forward_pre_hooks for p in module.modules())


def test_record_tells_what_happened(tmp_path: Path) -> None:
    student, teacher = model(0), model(1)
    _, record = fit(tmp_path, toys.distilling(epochs=2), student, teacher)
    assert record.stage == "stage-1"
    assert record.parents == (student.record.weights_sha256, teacher.record.weights_sha256)
    assert [epoch.epoch for epoch in record.epochs] == [1, 2]
    terms = {"ce", "kd", "fdkd_channel", "fdkd_spatial"}
    for epoch in record.epochs:
        assert set(epoch.terms) == set(epoch.gradient_norms) == terms
        assert min(epoch.gradient_norms.values()) > 0
        assert epoch.images_per_s == pytest.approx(48 / epoch.train_seconds)
    assert any(note.startswith("compile: off") for note in record.notes)
    assert any("folded" in note for note in record.notes)


def test_the_first_mean_of_a_term_is_that_of_the_student_at_the_start(tmp_path: Path) -> None:
    data = toys.DATA.model_copy(update={"batch_size": 48, "augment": "none"})
    _, record = fit(tmp_path, stage(epochs=1, ce=0.5), data=data)
    images = toys.splits().train
    module = toys.network().train()
    images_nchw = normalise(images.batch(np.arange(48)), toys.NORMALISATION, "cpu")
    ce = nn.functional.cross_entropy(module(images_nchw), torch.tensor(images.labels_n))
    assert record.epochs[0].terms["ce"] == pytest.approx(0.5 * ce.item(), rel=1e-4)


def test_only_the_classifier_changes_if_only_it_is_trained(tmp_path: Path) -> None:
    student = model(0)
    trained, record = fit(
        tmp_path, stage(trainable="classifier", methods=[{"name": "kd"}]), student, model(1)
    )
    assert record.best_epoch > 0
    before, after = student.module.state_dict(), trained.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"linear.weight", "linear.bias"}


def test_frozen_batch_normalisation_keeps_its_statistics_but_learns(tmp_path: Path) -> None:
    student = model(0)
    trained, record = fit(tmp_path, stage(batch_norm="frozen"), student)
    assert record.best_epoch > 0
    before, after = student.module.state_dict(), trained.state_dict()
    for name in before:
        statistic = name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(before[name], after[name]) == statistic, name


def test_averaged_weights_are_what_is_judged_and_returned(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path / "plain", stage(epochs=1))
    averaged, record = fit(tmp_path / "ema", stage(epochs=1, ema=0.5))
    assert not same(plain, averaged)
    found = score.top1_percent(averaged, toys.splits().validation, toys.NORMALISATION)
    if record.best_epoch == 1:
        assert found == record.epochs[0].validation_top1_percent


def test_an_empty_first_stage_changes_nothing_in_the_second(tmp_path: Path) -> None:
    start = model(0)
    none, _ = fit(tmp_path / "1", stage(epochs=0, trainable="classifier"), start, name="stage-1")
    two, _ = fit(tmp_path / "2", stage(), model(module=none), name="stage-2")
    one, _ = fit(tmp_path / "3", stage(), model(0), name="stage-1")
    assert same(one, two)


def test_without_cross_entropy_labels_have_no_part_in_training(tmp_path: Path) -> None:
    splits = toys.splits()
    labels = np.random.default_rng(0).permutation(splits.train.labels_n)
    shuffled = image_set(splits.train.pixels, labels, toys.CLASSES, "toys")
    free = toys.distilling(epochs=1, ce=0)
    one, record = fit(tmp_path / "1", free, model(0), model(1), splits=splits)
    other, _ = fit(tmp_path / "2", free, model(0), model(1), splits=replace(splits, train=shuffled))
    assert record.best_epoch == 1
    assert same(one, other)


def test_a_student_of_the_teachers_weights_feels_no_pull(tmp_path: Path) -> None:
    still = toys.distilling(epochs=1, learning_rate=1e-9, batch_norm="frozen")
    _, record = fit(tmp_path, still, model(1), model(1))
    norms = record.epochs[0].gradient_norms
    assert norms["kd"] == pytest.approx(0, abs=1e-5)
    assert norms["ce"] > 1e-3


def test_a_loss_that_is_not_finite_is_named_with_the_way_out(tmp_path: Path) -> None:
    wild = stage(epochs=2, learning_rate=1e30, clip_norm=None, warmup_epochs=0)
    with pytest.raises(
        UsageError, match=r"stage 'stage-1', epoch 1: .*not finite \(ce = .*Lower learning_rate"
    ):
        fit(tmp_path, wild)


def test_smoothed_labels_raise_the_loss_of_a_sure_student(tmp_path: Path) -> None:
    good, _ = fit(tmp_path / "good", stage(epochs=6))
    losses = []
    for smoothing in (0.0, 0.2):
        still = stage(epochs=1, learning_rate=1e-9, label_smoothing=smoothing)
        _, record = fit(tmp_path / str(smoothing), still, model(module=good))
        losses.append(record.epochs[0].terms["ce"])
    assert losses[1] > losses[0] + 0.1


def test_progress_counts_every_step_of_the_stage(tmp_path: Path) -> None:
    found: list[tuple[str, int, str]] = []
    listener = toys.Listener(lambda *a: found.append(a))
    fit(tmp_path, stage(epochs=2), progress=listener)
    title, count, note = found[-1]
    assert (title, count) == ("stage-1", 6)
    assert listener.total == 6
    assert "loss" in note
    assert "validation" in note


def test_the_learning_rate_follows_the_schedule_over_all_epochs(tmp_path: Path) -> None:
    stage_ = stage(epochs=3, learning_rate=0.1, warmup_epochs=1)
    _, record = fit(tmp_path, stage_)
    schedule = Schedule(stage_, steps=3)
    expected = [schedule.rate(step) for step in (2, 5, 8)]
    assert [epoch.learning_rate for epoch in record.epochs] == expected


def test_a_clipped_gradient_moves_the_weights_no_further_than_its_bound(tmp_path: Path) -> None:
    still = stage(epochs=1, clip_norm=1e-12, weight_decay=0, batch_norm="frozen")
    trained, record = fit(tmp_path, still)
    assert record.best_epoch == 1
    pairs = zip(trained.parameters(), toys.network().parameters(), strict=True)
    assert all(torch.allclose(one, other, rtol=0, atol=1e-9) for one, other in pairs)


@pytest.mark.slow
def test_a_compiled_stage_is_the_same_up_to_rounding(tmp_path: Path) -> None:
    short = toys.distilling(epochs=2, learning_rate=0.01)
    eager, _ = fit(tmp_path / "eager", short, model(0), model(1))
    training = toys.TRAINING.model_copy(update={"compile": "on"})
    compiled, record = fit(tmp_path / "on", short, model(0), model(1), training=training)
    assert any(note.startswith("compile: on, as asked") for note in record.notes)
    assert record.best_epoch > 0
    pairs = zip(eager.parameters(), compiled.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in pairs)


class Inplace(nn.Module):
    """Changes in place what its last convolution has made."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.linear = nn.Linear(4, len(toys.CLASSES))

    def forward(self, images_nchw: Tensor) -> Tensor:
        hidden_nchw = functional.relu(self.conv1(images_nchw))
        features_nchw = functional.relu(self.conv2(hidden_nchw), inplace=True)
        return self.linear(features_nchw.mean(dim=(2, 3)))


def test_gradients_are_measured_before_what_works_in_place(tmp_path: Path) -> None:
    _, record = fit(tmp_path, stage(epochs=1), model(module=Inplace()))
    assert record.epochs[0].gradient_norms["ce"] > 0
