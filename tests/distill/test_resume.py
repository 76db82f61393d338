import json
from pathlib import Path

import pytest
import torch

from edgekd.core import specs
from edgekd.distill import cache
from tests.distill import toys
from tests.distill.toys import fit, model, same, stage


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
    assert (again.cache_seconds > 0) == (stage_.teacher == "cached")
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


def test_the_time_of_the_cached_teacher_is_not_forgotten(tmp_path: Path) -> None:
    cached = stage(epochs=3, methods=[{"name": "kd"}], teacher="cached", views=2)
    interrupted_after(tmp_path, 1, cached)
    known = json.loads((tmp_path / cache.KEY).read_text())["seconds"]
    _, record = fit(tmp_path, cached, model(0), model(1))
    assert record.cache_seconds == known > 0
