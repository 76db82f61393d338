import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import DeviceError, ExportError, RecordError, UsageError
from edgekd.core.records import Shapes
from edgekd.export.formats import tensorrt
from edgekd.export.formats.tensorrt import Wishes
from tests import nets
from tests.standins.cudart import build as cudart

STANDINS = Path(__file__).parents[2] / "standins"
SIZES = {"images": Shapes(min=(1, 1, 2, 2), opt=(2, 1, 2, 2), max=(4, 1, 2, 2))}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cudart.library(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, library: Path) -> None:
    """Let the agent's process find the stand-ins for TensorRT 10.3 and CUDA."""
    monkeypatch.setenv("EDGEKD_STANDIN_TRT", "10.3.0")
    monkeypatch.setenv("EDGEKD_CUDART", str(library))
    monkeypatch.setenv("PYTHONPATH", str(STANDINS))


def linear(folder: Path, batch: int | str = 2) -> Path:
    return nets.linear(folder / "net.onnx", np.eye(4), (1, 2, 2), batch)


@pytest.mark.usefixtures("board")
def test_an_engine_is_built_and_verified(tmp_path: Path) -> None:
    model, plan = linear(tmp_path), tmp_path / "net.plan"
    told = []
    record = tensorrt.build(
        model, plan, layers=tmp_path / "layers.json", progress=lambda line: told.append(line.done)
    )
    assert record.engine == "tensorrt 10.3.0"
    assert record.asked.precision == "fp32"
    assert told == [1, 2]
    assert json.loads((tmp_path / "layers.json").read_text())["Layers"]
    assert tensorrt.verify(plan, model) == record
    assert plan.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("board")
def test_a_free_batch_needs_sizes(tmp_path: Path) -> None:
    model, plan = linear(tmp_path, "N"), tmp_path / "net.plan"
    with pytest.raises(UsageError, match="any number of images"):
        tensorrt.build(model, plan)
    record = tensorrt.build(model, plan, Wishes(profiles=SIZES))
    assert record.asked.profiles == SIZES


@pytest.mark.usefixtures("board")
def test_what_tensorrt_refuses_is_a_failed_export(tmp_path: Path) -> None:
    node = nets.helper.make_node("Det", ["images"], ["logits"])
    model = nets.write(tmp_path / "net.onnx", [node], (2, 1, 2, 2), (2, 1))
    with pytest.raises(ExportError, match=r"cannot read '.*net\.onnx'.*Det"):
        tensorrt.build(model, tmp_path / "net.plan")
    assert not (tmp_path / "net.plan").exists()


def test_a_machine_without_tensorrt_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="'tensorrt' is missing on this machine"):
        tensorrt.build(linear(tmp_path), tmp_path / "net.plan")


@pytest.fixture
def plan(board: None, tmp_path: Path) -> Path:
    tensorrt.build(linear(tmp_path), tmp_path / "net.plan")
    return tmp_path / "net.plan"


def test_a_changed_plan_is_found_out(plan: Path) -> None:
    content = bytearray(plan.read_bytes())
    content[-1] ^= 1
    plan.write_bytes(content)
    with pytest.raises(RecordError, match=r"SHA-256 of .* build it again"):
        tensorrt.verify(plan)


def test_a_plan_of_another_model_is_found_out(plan: Path, tmp_path: Path) -> None:
    other = nets.linear(tmp_path / "other.onnx", 2 * np.eye(4), (1, 2, 2), 2)
    with pytest.raises(RecordError, match="ONNX file's SHA-256"):
        tensorrt.verify(plan, other)


def test_a_record_of_another_version_is_found_out(plan: Path) -> None:
    record = plan.with_name("net.plan.json")
    record.write_text(record.read_text().replace('"tensorrt": "10.3.0"', '"tensorrt": "8.6.1"'))
    with pytest.raises(RecordError, match=re.escape("is 10.3.0, but its record says 8.6.1")):
        tensorrt.verify(plan)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 2}'])
def test_what_is_no_record_is_refused(plan: Path, text: str) -> None:
    plan.with_name("net.plan.json").write_text(text)
    with pytest.raises(RecordError, match="no record of an engine"):
        tensorrt.verify(plan)


def test_a_plan_without_a_record_is_refused(plan: Path) -> None:
    plan.with_name("net.plan.json").unlink()
    with pytest.raises(RecordError, match=r"there is no '.*net\.plan\.json'"):
        tensorrt.verify(plan)


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no TensorRT plan"):
        tensorrt.verify(linear(tmp_path))
