"""``edgekd sensitivity`` on a network with one layer that is spoiled on purpose."""

import json
from pathlib import Path

import pytest

from edgekd.core import records
from edgekd.core.sensitivity import Sensitivity
from tests.cli.conftest import Command
from tests.pipeline import sensitive

OPTIONS = ("--data", "tests.pipeline.sensitive:images", "--calibrator", "minmax")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the checkpoint, and the results of all these tests: computed once."""
    root = tmp_path_factory.mktemp("sensitivity")
    sensitive.save(root / "net", spoiled=True)
    return root


def test_the_spoiled_layer_is_found_and_a_target_written(edgekd: Command, folder: Path) -> None:
    status, out, err = edgekd(
        "sensitivity", folder / "net", *OPTIONS, "--mixed", "--margin", 5, "--out", folder / "out"
    )
    assert status == 0
    lines = out.splitlines()
    assert lines[1].split()[0] == "all"
    assert lines[2].split()[0] == "depthwise"
    assert lines[-1] == "PASSED  1 of 4 layers must stay float: depthwise"
    assert f"target: {folder / 'out' / 'mixed.toml'}" in err
    assert f"page: {folder / 'out' / 'sensitivity.html'}" in err
    assert "quantise layer by layer" in err


def test_json_is_the_record_and_too_few_images_are_status_3(edgekd: Command, folder: Path) -> None:
    status, out, _ = edgekd(
        "sensitivity", folder / "net", *OPTIONS, "--mixed", "--margin", 0.5, "--json",
        "--out", folder / "out",
    )  # fmt: skip
    assert status == 3
    found = records.read(Sensitivity, folder / "out" / "sensitivity.json")
    assert json.loads(out) == found.model_dump(mode="json")


def test_without_mixed_there_is_no_verdict(edgekd: Command, folder: Path) -> None:
    status, out, _ = edgekd(
        "sensitivity", folder / "net", *OPTIONS, "--leave-one-out", "--out", folder / "out"
    )
    assert status == 0
    assert "all but" in out
    assert "must stay float" not in out


@pytest.mark.parametrize("option", [("--margin", 0), ("--confidence", 1.5)])
def test_a_rule_that_cannot_be_is_refused(
    edgekd: Command, folder: Path, option: tuple[str, float]
) -> None:
    status, _, err = edgekd(
        "sensitivity", folder / "net", *OPTIONS, "--mixed", *option, "--out", folder / "out"
    )
    assert status == 2
    assert "the rule of --mixed" in err
    assert option[0].strip("-") in err
