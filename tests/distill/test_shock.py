from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.distill.shock import Shock
from tests.distill import toys


def net() -> nn.Sequential:
    """Two weights before the classifier, and one in it."""
    return nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False))


def give(module: nn.Sequential, backbone: list[float], classifier: float) -> None:
    module[0].weight.grad = torch.tensor([backbone])
    module[1].weight.grad = torch.tensor([[classifier]])


def test_the_norm_is_of_all_but_the_classifier() -> None:
    module = net()
    shock = Shock(module, "1")
    give(module, [3.0, 4.0], 100.0)
    assert shock.note() == 5.0


def test_the_largest_early_norm_and_the_median_are_read() -> None:
    module = net()
    shock = Shock(module, "1")
    for size in (1.0, 9.0, 2.0, 4.0):
        give(module, [size, 0.0], 0.0)
        shock.note()
    assert shock.read(first_step=0) == (9.0, 3.0)


def test_only_the_first_hundred_steps_of_the_stage_are_early() -> None:
    module = net()
    shock = Shock(module, "1")
    for size in (1.0, 2.0, 9.0):
        give(module, [size, 0.0], 0.0)
        shock.note()
    assert shock.read(first_step=98) == (2.0, 2.0)
    give(module, [7.0, 0.0], 0.0)
    shock.note()
    assert shock.read(first_step=100) == (None, 7.0)


def test_what_was_read_is_forgotten() -> None:
    module = net()
    shock = Shock(module, "1")
    give(module, [3.0, 4.0], 0.0)
    shock.note()
    shock.read(first_step=0)
    assert shock.read(first_step=0) == (None, None)


def test_a_frozen_backbone_has_no_gradient_to_note() -> None:
    module = net()
    module[0].requires_grad_(False)
    shock = Shock(module, "1")
    module[1].weight.grad = torch.ones(1, 1)
    assert shock.note() is None
    assert shock.read(first_step=0) == (None, None)


def test_a_classifier_of_zeros_spares_the_backbone() -> None:
    module = net()
    nn.init.zeros_(module[1].weight)
    shock = Shock(module, "1")
    module(torch.ones(4, 2)).square().sum().backward()
    assert shock.note() == 0.0


def test_a_training_tells_how_hard_it_began(tmp_path: Path) -> None:
    _, training = toys.fit(tmp_path, toys.stage())
    for epoch in training.epochs:  # 3 steps each, so all of them are early
        assert epoch.backbone_norm is not None
        assert epoch.early_backbone_norm is not None
        assert epoch.early_backbone_norm >= epoch.backbone_norm > 0


def test_a_training_of_the_classifier_alone_has_no_backbone(tmp_path: Path) -> None:
    _, training = toys.fit(tmp_path, toys.stage(trainable="classifier"))
    norms = {(epoch.early_backbone_norm, epoch.backbone_norm) for epoch in training.epochs}
    assert norms == {(None, None)}


def test_the_norm_is_taken_before_clipping(tmp_path: Path) -> None:
    # One step an epoch: until the first one, both trainings are the same.
    data = toys.DATA.model_copy(update={"batch_size": 48})
    norms = []
    for clip in (None, 1e-6):
        stage = toys.stage(epochs=1, clip_norm=clip)
        _, training = toys.fit(tmp_path / str(clip), stage, data=data)
        norms.append(training.epochs[0].backbone_norm)
    assert norms[0] == norms[1]
    assert norms[0] is not None
    assert norms[0] > 1e-6


def test_clipping_goes_by_the_norm_of_all_gradients(tmp_path: Path) -> None:
    # Without momentum and decay one clipped step goes exactly rate * clip_norm far.
    data = toys.DATA.model_copy(update={"batch_size": 48})
    stage = toys.stage(epochs=1, clip_norm=1e-2, momentum=0, weight_decay=0)
    before = toys.model()
    after, training = toys.fit(tmp_path, stage, before, data=data)
    assert training.best_epoch == 1
    pairs = zip(before.module.parameters(), after.parameters(), strict=True)
    moved = torch.cat([(one - other).flatten() for one, other in pairs]).norm()
    assert moved.item() == pytest.approx(0.1 * 1e-2, rel=1e-3)
