"""``edgekd export --device``: the engine, built where it will run."""

import json
from pathlib import Path

import pytest

from edgekd.core.engine import Engine
from edgekd.export.formats import tensorrt
from tests.cli.conftest import Command
from tests.standins.cudart import build as cudart

STANDINS = Path(__file__).parents[1] / "standins"
GPU = 'description = "A GPU of this machine"\nreach = "local"\nengine = "tensorrt"\n'


@pytest.fixture
def arguments(weights: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "gpu.toml").write_text(GPU)
    return [
        "export", "digits_resnet", "--weights", weights, "--calibration", "digits",
        "--target", "tensorrt-int8", "--calibration-images", 32, "--calibrator", "minmax",
        "--out", tmp_path / "out",
    ]  # fmt: skip


def test_engine_comes_back_with_its_record(
    edgekd: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_STANDIN_TRT", "10.3.0")
    monkeypatch.setenv("EDGEKD_CUDART", str(cudart.library(tmp_path)))
    monkeypatch.setenv("PYTHONPATH", str(STANDINS))
    status, out, _ = edgekd(*arguments, "--device", tmp_path / "gpu.toml", "--json")
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


def test_machine_without_tensorrt_keeps_the_file(
    edgekd: Command, arguments: list[object], tmp_path: Path
) -> None:
    status, _, err = edgekd(*arguments, "--device", tmp_path / "gpu.toml")
    assert status == 4
    assert "the engine 'tensorrt' is missing on this machine" in err
    assert (tmp_path / "out" / "model.onnx").is_file()
