import re
from pathlib import Path

import pytest

from edgekd.core.errors import UsageError
from tests.distill.toys import fit, model, stage


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": [{"name": "atf"}]}, 'trains the teacher, too: say teacher = "adaptive"'),
        (
            {"methods": [{"name": "kd"}], "teacher": "adaptive"},
            "nothing tells an adaptive teacher what to learn",
        ),
        (
            {"methods": [{"name": "dkd"}], "ce": 0, "labels": False},
            "method 'dkd' reads labels, but the stage says labels = false",
        ),
        ({"balance": "loss-rate"}, "there are no methods to balance"),
        (
            {"methods": [{"name": "ccd", "options": {"probability": p}} for p in (0.2, 0.5)]},
            "different second views, with probabilities [0.2, 0.5]; they must agree",
        ),
        (
            {"methods": [{"name": "at"}], "trainable": "classifier"},
            'compares features, which trainable = "classifier" leaves as they are',
        ),
        (
            {"methods": [{"name": "ccd"}], "teacher": "cached"},
            "method 'ccd' needs more than the teacher's logits",
        ),
    ],
)
def test_a_stage_and_its_methods_must_agree(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        fit(tmp_path, stage(**changes), model(0), model(1))
    assert not list(tmp_path.iterdir())


def test_labels_that_are_not_read_leave_nothing_to_cross_entropy() -> None:
    with pytest.raises(ValueError, match="set ce = 0"):
        stage(labels=False, methods=[{"name": "kd"}])
