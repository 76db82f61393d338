from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.core import specs
from edgekd.core.errors import DataError, UsageError
from edgekd.data.augment import normalise
from edgekd.data.images import image_set
from edgekd.distill.method import Outputs
from edgekd.distill.methods.fdkd import FDKD
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


def interrupted_after(folder: Path, epoch: int, stage_: specs.Stage, **changes: object) -> None:
    """Train until the first step of the epoch that follows ``epoch``."""

    def stop(title: str, count: int, note: str) -> None:
        if note.startswith(f"epoch {epoch + 1}/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(folder, stage_, model(0), model(1), progress=toys.Listener(stop), **changes)


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize(
    "stage_",
    [
        toys.distilling(epochs=3, ema=0.9),
        stage(epochs=3, methods=[{"name": "kd"}], teacher="cached", views=2),
        stage(epochs=3, optimiser="adamw", learning_rate=0.01, batch_norm="frozen"),
        stage(epochs=3, trainable="classifier"),
    ],
    ids=["online-ema", "cached", "adamw", "classifier"],
)
def test_a_resumed_stage_equals_an_uninterrupted_one_to_the_last_bit(
    tmp_path: Path, stage_: specs.Stage, epoch: int
) -> None:
    whole, record = fit(tmp_path / "whole", stage_, model(0), model(1))
    interrupted_after(tmp_path / "halves", epoch, stage_)
    resumed, again = fit(tmp_path / "halves", stage_, model(0), model(1))
    assert same(whole, resumed)
    assert again.best_epoch == record.best_epoch
    timeless = {"train_seconds", "images_per_s"}
    for one, other in zip(record.epochs, again.epochs, strict=True):
        assert one.model_dump(exclude=timeless) == other.model_dump(exclude=timeless)


def test_dropout_draws_the_same_after_an_interruption(tmp_path: Path) -> None:
    module = toys.network(dropout=0.5)
    whole, _ = fit(tmp_path / "whole", stage(), model(module=module))

    def stop(title: str, count: int, note: str) -> None:
        if note.startswith("epoch 3/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "half", stage(), model(module=module), progress=toys.Listener(stop))
    resumed, _ = fit(tmp_path / "half", stage(), model(module=module))
    assert same(whole, resumed)


def test_resuming_does_not_train_the_done_epochs_again(tmp_path: Path) -> None:
    interrupted_after(tmp_path, 2, stage())
    notes: list[str] = []
    fit(
        tmp_path, stage(), model(0), model(1), progress=toys.Listener(lambda *a: notes.append(a[2]))
    )
    assert {note.split("/")[0] for note in notes if note} == {"epoch 3"}


def test_a_state_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    interrupted_after(tmp_path, 2, stage())
    other = stage(learning_rate=0.05)
    resumed, record = fit(tmp_path, other, model(0), model(1))
    fresh, _ = fit(tmp_path / "fresh", other, model(0), model(1))
    assert same(resumed, fresh)
    assert len(record.epochs) == 3


def test_without_resume_the_stage_begins_anew(tmp_path: Path) -> None:
    interrupted_after(tmp_path, 2, stage())
    notes: list[str] = []
    listener = toys.Listener(lambda *a: notes.append(a[2]))
    fit(tmp_path, stage(), model(0), model(1), resume=False, progress=listener)
    assert any(note.startswith("epoch 1/") for note in notes)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    seeds = (0, 0, 1)
    runs = [
        fit(
            tmp_path / str(run),
            stage(epochs=1),
            training=toys.TRAINING.model_copy(update={"seed": seed}),
        )
        for run, seed in enumerate(seeds)
    ]
    assert same(runs[0][0], runs[1][0])
    assert not same(runs[0][0], runs[2][0])


def test_random_numbers_of_the_process_are_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fit(tmp_path, toys.distilling(epochs=1), model(0), model(1))
    assert torch.equal(torch.get_rng_state(), before)


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


def test_a_method_of_weight_0_is_plain_fine_tuning_to_the_last_bit(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path / "plain", stage())
    weightless = stage(methods=[{"name": "kd", "weight": 0}])
    other, record = fit(tmp_path / "kd", weightless, model(0), model(1))
    assert same(plain, other)
    assert set(record.epochs[0].terms) == {"ce"}


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


def test_cached_and_online_teacher_lead_to_nearly_the_same_student(tmp_path: Path) -> None:
    kd = {"methods": [{"name": "kd"}], "epochs": 2, "learning_rate": 0.01}
    online, _ = fit(tmp_path / "online", stage(**kd), model(0), model(1))
    cached, record = fit(
        tmp_path / "cached", stage(**kd, teacher="cached", views=8), model(0), model(1)
    )
    assert record.cache_seconds > 0
    pairs = zip(online.parameters(), cached.parameters(), strict=True)
    # FP16 logits: 11 bits of mantissa.
    assert all(torch.allclose(one, other, atol=1e-3) for one, other in pairs)


def test_two_uses_of_one_method_are_two_terms(tmp_path: Path) -> None:
    kd = [{"name": "kd", "options": {"temperature": t}} for t in (1.0, 4.0)]
    _, record = fit(tmp_path, stage(epochs=1, methods=kd), model(0), model(1))
    assert set(record.epochs[0].terms) == {"ce", "kd", "kd-2"}


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


@pytest.mark.parametrize(
    ("changes", "teacher", "message"),
    [
        ({"methods": [{"name": "kd"}]}, None, "distils, but there is no teacher"),
        ({"ce": 0}, None, "nothing to learn from"),
        ({"ce": 0, "methods": [{"name": "kd", "weight": 0}]}, "toy", "nothing to learn from"),
        ({"methods": [{"name": "kdd"}]}, "toy", "Did you mean 'kd'"),
        ({"methods": [{"name": "kd", "options": {"temprature": 1}}]}, "toy", "Did you mean"),
        (
            {"methods": [{"name": "fdkd"}], "teacher": "cached"},
            "toy",
            "'fdkd' needs more than the teacher's logits.*online",
        ),
        (
            {"methods": [{"name": "fdkd"}]},
            "another",
            "must be one architecture, but are 'toy' and 'another'.*spatial",
        ),
    ],
)
def test_a_stage_that_cannot_be_trained_is_refused(
    tmp_path: Path, changes: dict[str, object], teacher: str | None, message: str
) -> None:
    known = None if teacher is None else model(1, name=teacher)
    with pytest.raises(UsageError, match=message):
        fit(tmp_path, stage(**changes), model(0), known)


def test_another_architecture_learns_from_where_the_energy_lies(tmp_path: Path) -> None:
    spatial = [{"name": "fdkd", "options": {"modes": ["spatial"], "layers": "all"}}]
    teacher = model(module=toys.network(1, channels=6), name="another")
    _, record = fit(tmp_path, stage(epochs=1, methods=spatial), model(0), teacher)
    assert record.epochs[0].terms["fdkd_spatial"] > 0


def test_networks_of_other_classes_are_refused(tmp_path: Path) -> None:
    odd = model(0)
    odd = replace(odd, record=odd.record.model_copy(update={"classes": 7}))
    with pytest.raises(UsageError, match="the student has 7 classes, but the images have 3"):
        fit(tmp_path, stage(), odd)


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="batch_size is 16, but there are 9"):
        fit(tmp_path, stage(), splits=toys.splits(train=9))


def test_progress_counts_every_step_of_the_stage(tmp_path: Path) -> None:
    found: list[tuple[str, int, str]] = []
    listener = toys.Listener(lambda *a: found.append(a))
    fit(tmp_path, stage(epochs=2), progress=listener)
    title, count, note = found[-1]
    assert (title, count) == ("stage-1", 6)
    assert listener.total == 6
    assert "loss" in note
    assert "validation" in note


def test_losses_are_computed_in_fp32_under_autocast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    forward = FDKD.forward

    def spy(self: FDKD, student: Outputs, *others: Any) -> dict[str, Tensor]:
        seen.extend([student.logits_nk, *student.features.values()])
        return forward(self, student, *others)

    monkeypatch.setattr(FDKD, "forward", spy)
    training = toys.TRAINING.model_copy(update={"amp": "bf16"})
    trained, record = fit(
        tmp_path, toys.distilling(epochs=1), model(0), model(1), training=training
    )
    assert any(note.startswith("amp: bf16, as asked") for note in record.notes)
    assert all(parameter.dtype == torch.float32 for parameter in trained.parameters())
    assert all(tensor.dtype == torch.float32 for tensor in seen)
    # The network did compute in bf16.
    assert all(torch.equal(tensor, tensor.bfloat16().float()) for tensor in seen)


def test_the_learning_rate_follows_the_schedule_over_all_epochs(tmp_path: Path) -> None:
    stage_ = stage(epochs=3, learning_rate=0.1, warmup_epochs=1)
    _, record = fit(tmp_path, stage_)
    schedule = Schedule(stage_, steps=3)
    expected = [schedule.rate(step) for step in (2, 5, 8)]
    assert [epoch.learning_rate for epoch in record.epochs] == expected
