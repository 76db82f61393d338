"""``edgekd landscape`` on real checkpoints, on a tiny grid."""

import json
from pathlib import Path

import pytest
import torch

from edgekd.core import records
from edgekd.core.landscape import Landscape
from edgekd.models import checkpoint
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks of one shape."""
    torch.manual_seed(0)
    found = []
    for name in ("one", "two"):
        model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
        found.append(tmp_path_factory.mktemp("net") / name)
        checkpoint.save(found[-1], model.module, model.record, model.surgery)
    return found


def test_landscape_writes_record_and_page_and_prints_the_numbers(
    edgekd: Command,
    folders: list[Path],
    tmp_path: Path,
) -> None:
    status, out, err = edgekd(
        "landscape", *folders, "--data", "digits", "--points", 3, "--images", 100, "--device",
        "cpu", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 0
    found = records.read(Landscape, tmp_path / "out" / "landscape.json")
    for terrain in found.terrains:
        assert f"{terrain.subject}: loss {terrain.loss:.4g}, top eigenvalue" in out
    assert f"one to two: barrier {found.passages[0].barrier:.4g}" in out
    assert "one: slices" in err
    assert str(tmp_path / "out" / "landscape.html") in err


def test_landscape_prints_its_record_as_json(
    edgekd: Command,
    folders: list[Path],
    tmp_path: Path,
) -> None:
    status, out, _ = edgekd(
        "landscape", *folders, "--data", "digits", "--points", 3, "--images", 20, "--no-plane",
        "--path", "2:1", "--range", 0.5, "--out", tmp_path, "--json",
    )  # fmt: skip
    assert status == 0
    found = json.loads(out)
    assert found == records.read(Landscape, tmp_path / "landscape.json").model_dump(mode="json")
    assert found["positions"] == [-0.5, 0.0, 0.5]
    assert [(one["start"], one["end"]) for one in found["passages"]] == [("two", "one")]
    assert found["terrains"][0]["plane"] is None


@pytest.mark.parametrize("path", ["1-2", "one:two", "1:2:3"])
def test_landscape_refuses_a_path_without_numbers(
    edgekd: Command,
    folders: list[Path],
    tmp_path: Path,
    path: str,
) -> None:
    status, _, err = edgekd(
        "landscape", *folders, "--data", "digits", "--path", path, "--out", tmp_path
    )
    assert status == 2
    assert f"as in 1:2, found '{path}'" in err
