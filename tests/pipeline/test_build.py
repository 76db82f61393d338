"""Engines from the file to the accuracy, on stand-ins: what they compute is ONNX Runtime's."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.core.errors import RecordError, UsageError
from edgekd.core.progress import Silent
from edgekd.evaluate import accuracy
from edgekd.export.formats import tensorrt
from edgekd.export.platform import Platform
from edgekd.export.target import Target
from edgekd.pipeline import build, measure
from edgekd.remote import inventory
from tests import nets
from tests.pipeline import board
from tests.remote import sshd
from tests.standins.standin import VERSIONS

PLAIN = {"mean": (0.5,), "std": (0.25,)}


@pytest.fixture(params=VERSIONS)
def gpu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device with each version of TensorRT."""
    return board.here(tmp_path, monkeypatch, request.param)


@pytest.fixture
def newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A device with the newest TensorRT."""
    return board.here(tmp_path, monkeypatch, VERSIONS[-1])


def digits_net(folder: Path) -> Path:
    """Write a network for the digits, as linear as can be."""
    weights_kf = np.random.default_rng(0).standard_normal((10, 64))
    return nets.linear(folder / "model.onnx", weights_kf, (1, 8, 8), 1)


def built(
    device: str, folder: Path, fleet: Path | None = None, *, apart: bool = False
) -> tuple[Path, Path]:
    """Build an engine; ``apart``: from a file that keeps its weights in another."""
    model, plan = digits_net(folder), folder / "model.plan"
    if apart:
        whole = onnx.load(model)
        onnx.save(whole, model, save_as_external_data=True, location="w", size_threshold=0)
    tensorrt.build(model, plan, reach=inventory.usable(device, fleet).reach)
    return model, plan


def evaluate(model: Path, out: Path | None, device: str, fleet: Path | None = None) -> int:
    options = measure.Options(**PLAIN, device=device, fleet=fleet)  # type: ignore[arg-type]
    return measure.evaluate(
        str(model), "digits", "test", out, options=options, progress=Silent()
    ).correct


def test_an_engine_is_evaluated_image_by_image(gpu: str, tmp_path: Path) -> None:
    model, plan = built(gpu, tmp_path)
    first, second = tmp_path / "onnx.json", tmp_path / "engine.json"
    assert evaluate(model, first, "host-cpu") == evaluate(plan, second, gpu)
    _, file_n, engine_n = accuracy.paired(first, second)
    np.testing.assert_array_equal(file_n, engine_n)


@pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)
def test_an_engine_is_built_and_evaluated_over_ssh_from_two_files(tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    with sshd.serving(tmp_path / "sshd", sys.executable) as server:
        fleet = board.away(tmp_path, server, "10.3.0")
        model, plan = built("bench", tmp_path, fleet, apart=True)
        assert tensorrt.verify(plan, model).tensorrt == "10.3.0"
        assert evaluate(plan, None, "bench", fleet) == evaluate(model, None, "host-cpu")
        assert server.emptied()


def test_an_engine_without_its_onnx_file_is_refused(newest: str, tmp_path: Path) -> None:
    model, plan = built(newest, tmp_path)
    model.unlink()
    with pytest.raises(RecordError, match=r"beside .* lies no ONNX file"):
        evaluate(plan, None, newest)


def test_a_file_for_another_engine_is_refused(newest: str, tmp_path: Path) -> None:
    model, plan = digits_net(tmp_path), tmp_path / "model.plan"
    plan.touch()
    with pytest.raises(UsageError, match=r"tensorrt runs \.plan files: `edgekd export --device"):
        evaluate(model, None, newest)
    with pytest.raises(UsageError, match=r"onnxruntime runs \.onnx files: name the board"):
        evaluate(plan, None, "host-cpu")


def program(folder: Path) -> str:
    """Put the stand-in for trtexec, alone, into a folder that can be the PATH."""
    script = board.STANDINS / "trtexec" / "trtexec.py"
    text = script.read_text().replace("__file__", repr(str(script)))
    (folder / "bin").mkdir()
    (folder / "bin" / "trtexec").write_text(f"#!{sys.executable}\n{text}")
    (folder / "bin" / "trtexec").chmod(0o755)
    return str(folder / "bin")


def test_trtexec_builds_where_the_python_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpu.toml").write_text(board.GPU)
    monkeypatch.setenv("PATH", program(tmp_path))
    site = build.survey(str(tmp_path / "gpu.toml"), Target.read("tensorrt-int8"))
    assert site.builder == "trtexec"


def test_the_python_package_goes_before_trtexec(
    newest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", program(tmp_path))
    assert build.survey(newest, Target.read("tensorrt-int8")).builder == "tensorrt"


def test_a_platform_of_another_tensorrt_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gpu.toml").write_text(board.GPU)
    monkeypatch.setenv("PATH", program(tmp_path))
    monkeypatch.setenv("STANDIN_TRTEXEC", "8.6.1")
    target, platform = Target.read("tensorrt-int8"), Platform.read("jp6.2")
    with pytest.raises(UsageError, match=r"'jp6\.2' has TensorRT 10\.3, but .* has 8\.6\.1"):
        build.survey(str(tmp_path / "gpu.toml"), target, platform)


def test_a_board_that_is_this_machine_runs_engines_with_its_own_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = board.local(tmp_path, "10.3.0")
    correct = evaluate(digits_net(tmp_path), None, "host-cpu")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "numpy.py").write_text("raise SystemExit('built for this Python')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    model, plan = built("bench", tmp_path, fleet)
    assert tensorrt.verify(plan, model).tensorrt == "10.3.0"
    assert evaluate(plan, None, "bench", fleet) == correct
