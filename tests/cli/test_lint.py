"""``edgekd lint``: its exit status and what it prints; in this process, to save time."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command
from tests.lint.graphs import Net, sound


@pytest.fixture
def lint(edgekd: Command) -> Command:
    """Run ``edgekd lint``: exit status, stdout, stderr."""
    return partial(edgekd, "lint")


def save(folder: Path, net: Net) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(net.model().SerializeToString())
    return path


def test_a_sound_model_ends_with_status_0(lint: Command, tmp_path: Path) -> None:
    status, out, _ = lint(save(tmp_path, sound()))
    assert status == 0
    assert "0 errors, 0 warnings" in out.splitlines()[-1]


def test_errors_end_with_status_1_and_say_how_to_mend_them(lint: Command, tmp_path: Path) -> None:
    status, out, _ = lint(save(tmp_path, sound().put("c1.x.zero", 3, np.int8)))
    assert status == 1
    assert "error    Q001 c1.x.q: the zero point is 3, where 0 was expected" in out
    assert "Calibrate symmetrically" in out


def test_a_broken_file_ends_with_status_2_and_one_line(lint: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"hello")
    status, out, err = lint(path)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_the_version_decides(lint: Command, tmp_path: Path) -> None:
    path = save(tmp_path, sound().put("c1.x.zero", 0, np.uint8))
    assert lint(path, "--trt", "10.3")[0] == 1
    assert lint(path, "--trt", "10.13")[0] == 0
    assert lint(path, "--trt", "10.13", "--trt", "8.5")[0] == 1
    assert lint(path, "--trt", "9")[0] == 2


def test_json_is_all_that_stands_on_stdout(lint: Command, tmp_path: Path) -> None:
    path = save(tmp_path, sound().put("c1.x.zero", 3, np.int8))
    status, out, _ = lint(path, "--format", "json", "--trt", "10.3")
    tree = json.loads(out)
    assert status == 1
    assert tree["trt"] == ["10.3"]
    assert tree["findings"][0]["rule"] == "Q001"


def test_sarif_is_all_that_stands_on_stdout(lint: Command, tmp_path: Path) -> None:
    _, out, _ = lint(save(tmp_path, sound()), "--format", "sarif")
    assert json.loads(out)["version"] == "2.1.0"


def test_the_target_says_that_a_model_should_be_int8(lint: Command, tmp_path: Path) -> None:
    path = save(tmp_path, Net().node("Relu", "x", "y"))
    assert lint(path)[0] == 0
    status, out, _ = lint(path, "--target", "tensorrt-int8")
    assert status == 1
    assert "Q023" in out


def test_a_target_for_another_engine_is_refused(lint: Command, tmp_path: Path) -> None:
    status, _, err = lint(save(tmp_path, sound()), "--target", "onnx-int8")
    assert status == 2
    assert "such as tensorrt-int8" in err


def test_fix_writes_a_file_and_judges_that(lint: Command, tmp_path: Path) -> None:
    net = sound()
    net.nodes[0].name = ""
    path, out_path = save(tmp_path, net), tmp_path / "fixed.onnx"
    before = path.read_bytes()
    assert "T009" in lint(path)[1]
    status, out, err = lint(path, "--fix", out_path)
    assert (status, path.read_bytes()) == (0, before)
    assert "T009" not in out
    assert "fixed T009: named 1 nodes" in err
    assert lint(out_path)[0] == 0


def test_the_accelerator_is_judged_when_asked_for(lint: Command, tmp_path: Path) -> None:
    path = save(tmp_path, Net(shape=("n", 3, 8, 8)).node("Relu", "x", "y"))
    assert lint(path)[0] == 0
    assert lint(path, "--dla")[0] == 1


def test_several_models_are_judged_each_and_one_error_decides(
    lint: Command, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    models = save(bad, sound().put("c1.x.zero", 3, np.int8)), save(good, sound())
    status, out, _ = lint(*models, "--format", "json")
    assert status == 1
    assert [tree["model"] for tree in json.loads(out)] == [str(model) for model in models]
    status, out, _ = lint(*models)
    assert status == 1
    counts = [line.split(",")[0] for line in out.splitlines() if "remarks for" in line]
    assert counts == [f"{models[0]}: 2 errors", f"{models[1]}: 0 errors"]


def test_several_models_are_not_mended_into_one_file(lint: Command, tmp_path: Path) -> None:
    model = save(tmp_path, sound())
    status, _, err = lint(model, model, "--fix", tmp_path / "out.onnx")
    assert status == 2
    assert "--fix writes one file, but 2 models are named" in err
    assert not (tmp_path / "out.onnx").exists()


def test_an_unreadable_file_does_not_hide_what_the_others_have(
    lint: Command, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.onnx"
    model = save(tmp_path, sound().put("c1.x.zero", 3, np.int8))
    status, out, err = lint(gone, model)
    assert status == 2
    assert "error    Q001" in out
    assert err.splitlines()[-1] == f"error: '{gone}' cannot be read: No such file or directory"
    status, out, _ = lint(gone, model, "--format", "json")
    assert status == 2
    assert ["error" in tree for tree in json.loads(out)] == [False, True]
    status, out, _ = lint(gone, model, "--format", "sarif")
    assert status == 2
    assert not json.loads(out)["runs"][0]["invocations"][0]["executionSuccessful"]


def test_an_unreadable_file_alone_is_told_in_the_asked_form(lint: Command, tmp_path: Path) -> None:
    gone = tmp_path / "gone.onnx"
    status, out, _ = lint(gone, "--format", "json")
    assert status == 2
    assert "cannot be read" in json.loads(out)["error"]
    status, out, _ = lint(gone, "--format", "sarif")
    assert status == 2
    assert not json.loads(out)["runs"][0]["invocations"][0]["executionSuccessful"]


def test_one_error_is_one_error(lint: Command, tmp_path: Path) -> None:
    _, out, _ = lint(save(tmp_path, Net(opset=21).node("Relu", "x", "y")), "--trt", "8.6")
    assert ": 1 error, 0 warnings, " in out.splitlines()[-1]
