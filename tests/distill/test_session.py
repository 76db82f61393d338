from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from edgekd.core import records
from edgekd.core.errors import DataError, UsageError
from edgekd.distill import cache
from edgekd.distill.method import Outputs
from edgekd.distill.methods.fdkd import FDKD
from edgekd.models.surgery import Surgery
from tests.distill import toys
from tests.distill.toys import fit, model, same, stage


def test_a_method_of_weight_0_is_plain_fine_tuning_to_the_last_bit(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path / "plain", stage())
    weightless = stage(methods=[{"name": "kd", "weight": 0}])
    other, record = fit(tmp_path / "kd", weightless, model(0), model(1))
    assert same(plain, other)
    assert set(record.epochs[0].terms) == {"ce"}


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


def test_no_more_views_are_cached_than_there_are_epochs(tmp_path: Path) -> None:
    few = stage(epochs=1, methods=[{"name": "kd"}], teacher="cached", views=8)
    fit(tmp_path, few, model(0), model(1))
    assert len(np.load(tmp_path / cache.LOGITS)) == 1


def test_cached_logits_of_another_normalisation_are_not_used(tmp_path: Path) -> None:
    cached = stage(epochs=1, methods=[{"name": "kd"}], teacher="cached")
    teacher = model(1)
    fit(tmp_path, cached, model(0), teacher)
    before = np.load(tmp_path / cache.LOGITS)
    theirs = records.Normalisation(mean=(0.1,), std=(0.9,))
    record = teacher.record.model_copy(update={"normalisation": theirs})
    fit(tmp_path, cached, model(0), replace(teacher, record=record))
    assert not np.array_equal(before, np.load(tmp_path / cache.LOGITS))


def test_channels_are_matched_with_those_of_a_teacher_that_was_cut_itself(tmp_path: Path) -> None:
    # Of eight channels the teacher has kept four, and the student the same.
    surgery = Surgery(outputs={"blocks.0": (1, 3, 5, 7), "blocks.1": (0, 2, 4, 6)})
    student, teacher = (replace(model(seed), surgery=surgery) for seed in (0, 1))
    _, record = fit(tmp_path, toys.distilling(epochs=1), student, teacher)
    assert record.epochs[0].terms["fdkd_channel"] > 0


def test_terms_are_recorded_with_the_weight_of_their_method(tmp_path: Path) -> None:
    found = []
    for weight in (1.0, 2.5):
        methods = [{"name": "kd", "weight": weight}]
        still = stage(epochs=1, learning_rate=1e-9, methods=methods)
        _, record = fit(tmp_path / str(weight), still, model(0), model(1))
        found.append(record.epochs[0].terms["kd"])
    assert found[1] == pytest.approx(2.5 * found[0], rel=1e-4)
