"""``edgekd export --device``: the engine, built where it will run."""

import json
import os
from pathlib import Path

import pytest

from edgekd.core.engine import Engine
from edgekd.export.formats import tensorrt
from tests.cli.conftest import Command
from tests.pipeline import board


@pytest.fixture
def arguments(weights: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "gpu.toml").write_text(board.GPU)
    return [
        "export", "digits_resnet", "--weights", weights, "--calibration", "digits",
        "--target", "tensorrt-int8", "--calibration-images", 32, "--calibrator", "minmax",
        "--out", tmp_path / "out",
    ]  # fmt: skip


def test_engine_comes_back_with_its_record(
    edgekd: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board.here(tmp_path, monkeypatch, "10.3.0")
    status, out, _ = edgekd(*arguments, "--device", device, "--json")
    assert status == 0
    record = tensorrt.verify(tmp_path / "out" / "model.plan", tmp_path / "out" / "model.onnx")
    assert Engine.model_validate(json.loads(out)["engine"]) == record
    assert (record.typing, record.asked.precision) == ("strong", "int8")
    assert json.loads((tmp_path / "out" / "layers.json").read_text())["Layers"]


def test_device_that_builds_no_engines_is_refused_first(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    status, _, err = edgekd(*arguments, "--device", "host-cpu")
    assert status == 2
    assert "'host-cpu' runs onnxruntime, which builds no engines" in err
    assert not (tmp_path / "out").exists()


def test_machine_without_tensorrt_is_told_before_the_export(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    status, _, err = edgekd(*arguments, "--device", tmp_path / "gpu.toml")
    assert status == 4
    assert "has neither TensorRT's Python package nor trtexec" in err
    assert not (tmp_path / "out").exists()


def test_what_the_engine_computes_is_printed(
    edgekd: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board.here(tmp_path, monkeypatch, "11.4.0")
    status, out, _ = edgekd(*arguments, "--device", device)
    assert status == 0
    assert "engine against checkpoint: passed, relative error" in out
    assert "engine against ONNX Runtime: passed, relative error 0 of 0.5, largest 0 (mean 0)" in out


def test_a_target_for_another_engine_is_refused_first(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    arguments[arguments.index("tensorrt-int8")] = "onnx-int8"
    status, _, err = edgekd(*arguments, "--device", tmp_path / "gpu.toml")
    assert status == 2
    assert "target 'onnx-int8' is not made for TensorRT" in err


def test_a_build_that_fails_can_be_tried_again(
    edgekd: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board.here(tmp_path, monkeypatch, "10.3.0")
    library = os.environ["EDGEKD_CUDART"]
    monkeypatch.setenv("EDGEKD_CUDART", str(tmp_path / "gone.so"))
    status, _, _ = edgekd(*arguments, "--device", device)
    assert status == 4
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("EDGEKD_CUDART", library)
    assert edgekd(*arguments, "--device", device)[0] == 0


def test_an_opset_that_the_board_does_not_read_is_refused_first(
    edgekd: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.toml").write_text(
        'precision = "fp32"\nopset = 21\ntolerance = 0.1\nbatch = 1\nruns_on = ["tensorrt"]\n'
    )
    arguments[arguments.index("tensorrt-int8")] = tmp_path / "new.toml"
    device = board.installed(tmp_path, monkeypatch, "8.6.1")
    status, _, err = edgekd(*arguments, "--device", device)
    assert status == 5
    assert "target 'new' is written in opset 21, but " in err
    assert "has TensorRT 8.6.1, which reads opsets 1 to 17: export with --platform jp6.0" in err
    assert not (tmp_path / "out").exists()
