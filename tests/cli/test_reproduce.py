"""``edgekd reproduce``: its words, its status, and the folder that it takes."""

import json
from pathlib import Path

import pytest

from edgekd.pipeline import reproduce
from edgekd.pipeline.reproduce import Comparison, Reproduction
from tests.cli.conftest import Command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let a reproduction be found inconclusive at once; returns the folders that were asked for."""
    folders: list[Path] = []

    def done(run: Path, out: Path, **_: object) -> Reproduction:
        folders.extend((run, out))
        found = Comparison("deep", "inconclusive", "too few images")
        return Reproduction(out, "inconclusive", ("torch: 2, now 3",), False, (found,))

    monkeypatch.setattr(reproduce, "reproduce", done)
    return folders


def test_environment_first_then_each_model_then_the_outcome(
    edgekd: Command, asked: list[Path]
) -> None:
    status, out, _ = edgekd("reproduce", "runs/1")
    assert status == 3
    assert out.splitlines() == [
        "not as it was: torch: 2, now 3",
        "asked for: the same within the gate's margin",
        "INCONCLUSIVE deep: too few images",
        "reproduced: inconclusive",
    ]


def test_the_new_run_lies_beside_the_old_one_unless_said_otherwise(
    edgekd: Command, asked: list[Path]
) -> None:
    edgekd("reproduce", "runs/1/")
    edgekd("reproduce", "runs/1", "--out", "elsewhere")
    assert asked == [Path("runs/1"), Path("runs/1-again"), Path("runs/1"), Path("elsewhere")]


def test_json_names_each_comparison(edgekd: Command, asked: list[Path]) -> None:
    status, out, _ = edgekd("reproduce", "runs/1", "--json")
    found = json.loads(out)
    assert (status, found["state"], found["comparisons"][0]["subject"]) == (
        3, "inconclusive", "deep",
    )  # fmt: skip


def test_a_folder_that_is_no_run_ends_with_2(edgekd: Command, tmp_path: Path) -> None:
    status, _, err = edgekd("reproduce", tmp_path)
    assert status == 2
    assert "is not a run's folder" in err
