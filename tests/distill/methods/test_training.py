"""Methods in a stage of the training itself, on a student of another width."""

from pathlib import Path

import pytest
import torch

from edgekd.core.errors import UsageError
from tests.distill import toys

# Those that need nothing but logits and features; the toys' maps have one size.
CASES: dict[str, dict[str, object]] = {
    "kd": {"normalise": True},
    "dkd": {},
    "logit_mse": {},
    "triplet": {"negatives": "hardest"},
    "metric-kd": {},
    "entropy_weight": {},
    "at": {},
    "sp": {},
    "rkd": {},
    "purf": {},
    "feature_mse": {"align": "adapter", "layers": "all"},
    "attention_feature": {"align": "adapter"},
}


def use(name: str, **options: object) -> dict[str, object]:
    return {"methods": [{"name": name, "options": options}], "epochs": 2, "learning_rate": 0.02}


@pytest.mark.parametrize("name", CASES)
def test_a_narrower_student_is_trained_and_no_method_is_kept_in_it(
    name: str, tmp_path: Path
) -> None:
    student = toys.model(0, toys.network(0, channels=3))
    stage = toys.stage(**use(name, **CASES[name]))
    module, _ = toys.fit(tmp_path, stage, student, toys.model(1))
    assert module.state_dict().keys() == student.module.state_dict().keys()
    assert all(value.isfinite().all() for value in module.state_dict().values())


@pytest.mark.parametrize("name", ["feature_mse", "attention_feature"])
def test_channels_of_unknown_origin_are_refused_before_the_training(
    name: str, tmp_path: Path
) -> None:
    student = toys.model(0, toys.network(0, channels=3))
    with pytest.raises(UsageError, match='align = "adapter"'):
        toys.fit(tmp_path, toys.stage(**use(name)), student, toys.model(1))


def test_an_adapter_is_trained_alike_by_two_runs(tmp_path: Path) -> None:
    stage = toys.stage(**use("feature_mse", align="adapter"))
    one, other = (
        toys.fit(tmp_path / str(run), stage, toys.model(0), toys.model(1))[0] for run in range(2)
    )
    assert toys.same(one, other)
    assert not torch.equal(one.conv.weight, toys.network(0).conv.weight)
