"""Methods that need more than one look at an image, trained for real."""

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgekd.core import specs
from edgekd.core.errors import UsageError
from edgekd.data.images import ImageSet, Stored, image_set
from edgekd.data.sources import Splits
from edgekd.distill import adaptive
from edgekd.distill.adaptive import Adaptive
from edgekd.distill.method import Outputs
from edgekd.distill.methods.adaptive_teacher import AdaptiveTeacher
from edgekd.distill.methods.attention_crop import AttentionCrop
from edgekd.distill.methods.boundary import Boundary
from edgekd.distill.methods.ccd import CCD
from tests.distill import toys
from tests.distill.toys import fit, model, same

SIDE = 66  # pixels, eleven for each of a toy's six


def stage(name: str, options: dict[str, object] | None = None, **changes: object) -> specs.Stage:
    return toys.stage(methods=[{"name": name, "options": options or {}}], **changes)


def spy(
    monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> list[tuple[tuple[Any, ...], Any]]:
    """Return a list that fills with arguments and result of each call of a class's function."""
    calls: list[tuple[tuple[Any, ...], Any]] = []
    original: Callable[..., Any] = getattr(kind, name)

    def spied(self: object, *arguments: Any) -> Any:
        result = original(self, *arguments)
        calls.append((arguments, result))
        return result

    monkeypatch.setattr(kind, name, spied)
    return calls


def large(images: ImageSet) -> ImageSet:
    grown = images.batch(list(range(len(images)))).repeat(11, axis=1).repeat(11, axis=2)
    return image_set(Stored(grown), images.labels_n, toys.CLASSES, "toys")


def large_splits() -> Splits:
    small = toys.splits(train=32, validation=6)
    return Splits(
        large(small.train), large(small.validation), large(small.test), toys.CLASSES, "toys"
    )


ADAPTIVE = stage("adaptive_teacher", teacher="adaptive")
STAGES = {
    "ccd": stage("ccd"),
    "boundary": stage("boundary"),
    "adaptive-teacher": ADAPTIVE,
    "adaptive-teacher-ema": stage("adaptive_teacher", {"alpha": 0.5}, teacher="adaptive", ema=0.9),
}


@pytest.mark.parametrize("stage_", STAGES.values(), ids=STAGES.keys())
def test_all_terms_are_finite_and_the_networks_that_are_given_stay(
    tmp_path: Path, stage_: specs.Stage
) -> None:
    student, teacher = model(0), model(1)
    _, record = fit(tmp_path, stage_, student, teacher)
    assert len(record.epochs) == 3
    assert all(math.isfinite(value) for epoch in record.epochs for value in epoch.terms.values())
    name = stage_.methods[0].name
    assert {term[: len(name)] for term in record.epochs[0].terms} == {"ce", name}
    assert same(student.module, model(0).module)
    assert same(teacher.module, model(1).module)


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every accuracy of an adaptive teacher count as a fall, so that its guard changes."""
    monkeypatch.setattr(adaptive, "_FALL_PP", -200.0)


@pytest.mark.usefixtures("falling")
@pytest.mark.parametrize("stage_", STAGES.values(), ids=STAGES.keys())
def test_a_resumed_stage_equals_an_uninterrupted_one_to_the_last_bit(
    tmp_path: Path, stage_: specs.Stage
) -> None:
    def stop(title: str, count: int, note: str) -> None:
        if note.startswith("epoch 3/"):
            raise KeyboardInterrupt

    whole, record = fit(tmp_path / "whole", stage_, model(0), model(1))
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "half", stage_, model(0), model(1), progress=toys.Listener(stop))
    resumed, again = fit(tmp_path / "half", stage_, model(0), model(1))
    assert same(whole, resumed)
    assert [epoch.terms for epoch in again.epochs] == [epoch.terms for epoch in record.epochs]


@pytest.mark.parametrize(
    ("probability", "augment", "same_view"),
    [(0.0, "none", True), (0.0, "shift", False), (0.5, "none", False)],
)
def test_ccd_sees_two_views_of_the_same_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    probability: float,
    augment: str,
    *,
    same_view: bool,
) -> None:
    calls = spy(monkeypatch, CCD, "forward")
    data = specs.Data(source="toys", augment=augment, batch_size=16)
    fit(tmp_path, stage("ccd", {"probability": probability}), model(0), model(1), data=data)
    for (student, teacher, _, _), _ in calls:
        for said in (student, teacher):
            assert said.logits_nk.shape == said.others[0].logits_nk.shape == (16, 3)
        alike = torch.allclose(teacher.logits_nk, teacher.others[0].logits_nk, atol=1e-5)
        assert alike == same_view


def test_boundary_shows_both_networks_images_that_the_batch_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read = spy(monkeypatch, Boundary, "perturb"), spy(monkeypatch, Boundary, "forward")
    teacher, _ = fit(tmp_path / "teacher", toys.stage(epochs=6), model(1))  # it must get some right
    fit(tmp_path / "student", stage("boundary"), model(0), model(1, teacher))
    moved = 0
    for (images_nchw, *_), moved_mchw in made:
        assert moved_mchw.shape == (4, *images_nchw.shape[1:])
        moved += int((moved_mchw != images_nchw[:4]).flatten(1).any(dim=1).sum())
    assert moved > len(made)
    for (student, said, _, _), _ in read:
        assert len(student.others[0].logits_nk) == len(said.others[0].logits_nk) == 4


def test_the_teacher_alone_sees_the_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spy(monkeypatch, AttentionCrop, "perturb")
    read = spy(monkeypatch, AttentionCrop, "forward")
    chosen = stage("attention_crop", epochs=1)
    _, record = fit(tmp_path, chosen, model(0), model(1), splits=large_splits())
    assert math.isfinite(record.epochs[0].terms["attention_crop"])
    for (images_nchw, *_), crops_nchw in made:
        assert crops_nchw.shape == images_nchw.shape == (16, 1, SIDE, SIDE)
        assert not torch.allclose(crops_nchw, images_nchw)
    for (student, teacher, _, _), _ in read:
        assert not student.others
        assert not torch.allclose(teacher.others[0].logits_nk, teacher.logits_nk)


def test_crops_of_small_images_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"64 pixels.*6x6.*'kd'"):
        fit(tmp_path, stage("attention_crop"), model(0), model(1))


@pytest.mark.parametrize("name", ["ccd", "boundary", "attention_crop"])
def test_a_cache_of_logits_cannot_serve_them(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="more than the teacher's logits"):
        fit(tmp_path, stage(name, teacher="cached"), model(0), model(1))


def test_an_adaptive_teacher_learns_and_its_statistics_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []
    original = Adaptive.learn

    def learn(self: Adaptive, *arguments: Any) -> Any:
        result = original(self, *arguments)
        seen.append(deepcopy(self.teacher.module.state_dict()))
        return result

    monkeypatch.setattr(Adaptive, "learn", learn)
    fit(tmp_path, ADAPTIVE, model(0), model(1))
    before, after = model(1).module.state_dict(), seen[-1]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name, _ in model(1).module.named_parameters()}


def test_an_adaptive_teacher_of_rate_zero_is_the_frozen_one_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = stage("adaptive_teacher", teacher="adaptive", teacher_rate=0.0)
    one, _ = fit(tmp_path / "one", still, model(0), model(1))
    moving, _ = fit(tmp_path / "two", ADAPTIVE, model(0), model(1))
    monkeypatch.setattr(AdaptiveTeacher, "adapts_teacher", False)  # so that it may stay online
    frozen, _ = fit(tmp_path / "three", stage("adaptive_teacher"), model(0), model(1))
    assert same(one, frozen)
    assert not same(moving, frozen)


def test_the_teacher_learns_from_a_student_that_carries_no_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = spy(monkeypatch, AdaptiveTeacher, "teacher_terms")
    fit(tmp_path, ADAPTIVE, model(0), model(1))
    for (student, teacher, _, _), terms in calls:
        assert isinstance(student, Outputs)
        assert not student.logits_nk.requires_grad
        assert teacher.logits_nk.requires_grad
        assert terms.keys() == {"adaptive_teacher_ce", "adaptive_teacher_student"}
    assert calls
