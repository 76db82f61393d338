"""``edgekd export`` for a platform, and what other commands know of platforms."""

import json
from pathlib import Path

import pytest

from edgekd.core import records
from tests.cli.conftest import Command


@pytest.fixture
def arguments(weights: Path) -> list[object]:
    return [
        "export", "digits_resnet", "--weights", weights, "--calibration", "digits",
        "--calibration-images", 32, "--calibrator", "minmax",
    ]  # fmt: skip


def test_platform_is_told_to_people_and_the_record(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    status, out, _ = edgekd(
        *arguments, "--target", "tensorrt-int8-fp16", "--platform", "jp6.2", "--batch", "1:2:4",
        "--out", tmp_path,
    )  # fmt: skip
    assert status == 0
    assert "opset 19, for jp6.2 (strong typing), 1, 2, 4 images at a time" in out
    found = records.read(records.Artifact, tmp_path / "artifact.json")
    assert (found.platform, found.opset, found.typing) == ("jp6.2", 19, "strong")
    assert [sizes[0] for sizes in vars(found.profiles["images"]).values()] == [1, 2, 4]
    status, out, _ = edgekd("lint", tmp_path / "model.onnx", "--platform", "jp6.2")
    assert status == 0
    assert out.endswith("for TensorRT 10.3\n")


def test_board_without_int8_is_refused_before_anything_is_read(
    edgekd: Command, tmp_path: Path
) -> None:
    status, _, err = edgekd(
        "export", "no_such_model", "--target", "tensorrt-int8", "--platform", "jp4.6",
        "--calibration", "nowhere", "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 5
    assert "Nano and TX2 compute no INT8: export tensorrt-fp16, or take a newer board" in err
    assert not (tmp_path / "out").exists()


def test_accelerator_runs_a_small_residual_network_throughout(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    status, out, _ = edgekd(
        *arguments, "--target", "tensorrt-fp16-dla", "--platform", "jp5.1", "--batch", 2,
        "--out", tmp_path, "--json",
    )  # fmt: skip
    assert status == 0
    found = json.loads(out)
    assert (found["batch"], found["opset"], found["profiles"]) == (2, 17, {})
    assert not [note for note in found["notes"] if "runs on the GPU" in note]


def test_platforms_are_listed(edgekd: Command) -> None:
    status, out, _ = edgekd("list", "platforms", "--json")
    assert status == 0
    assert {row["name"] for row in json.loads(out)} >= {"jp5.1", "jp6.0", "jp6.2", "jp7.0", "jp7.2"}


def test_lint_does_not_speak_of_platforms_older_than_its_rules(
    edgekd: Command, tmp_path: Path
) -> None:
    from tests.lint.graphs import sound

    (tmp_path / "model.onnx").write_bytes(sound().model().SerializeToString())
    status, _, err = edgekd("lint", tmp_path / "model.onnx", "--platform", "jp4.6")
    assert status == 2
    assert "the rules do not cover TensorRT 8.2" in err
