from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.core import checking, files, records, run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Artifact
from edgekd.pipeline import gate
from tests import builders


def spec(**given: object) -> specs.Gate:
    return checking.checked(specs.Gate, given, "gate")


def test_lint_counts_what_the_linter_finds_in_the_exported_file(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    folder = run_folder.artifact(run, "onnx-fp32")
    shape = [1, 3, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    nodes = [helper.make_node("Mystery", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    sha256 = files.sha256_of(folder / "model.onnx")
    builders.change(Artifact, folder / "artifact.json", sha256=sha256)
    found = gate.judge(spec(lint={"artifacts": ["onnx-fp32"]}), run_folder.read(run))
    assert found.state == "failed"
    measured = found.findings[0].measured
    assert measured is not None
    assert measured.value >= 1


def test_baseline_is_kept_and_compared_with(tmp_path: Path) -> None:
    run = run_folder.read(builders.make_run(tmp_path / "run"))
    file = gate.keep(run, tmp_path / "baselines")
    assert file == tmp_path / "baselines" / "host-cpu.json"
    rules = spec(latency_baseline_ratio={"limit": 1.05}, size_baseline_ratio={"limit": 1})
    found = gate.judge(rules, run, tmp_path / "baselines")
    assert found.state == "passed"
    assert records.read(gate.baselines.Baseline, file).parents[0] in found.parents


def test_rules_and_baselines_must_go_together(tmp_path: Path) -> None:
    run = run_folder.read(builders.make_run(tmp_path))
    with pytest.raises(UsageError, match="say where it lies with --baselines"):
        gate.judge(spec(latency_baseline_ratio={"limit": 1}), run)
    with pytest.raises(UsageError, match="no rule compares with a baseline"):
        gate.judge(spec(size_ratio={"limit": 1}), run, tmp_path)


@pytest.mark.parametrize("path", ["recipe.json", "profile/measurement.json"])
def test_records_that_were_changed_after_the_run_ended_are_refused(
    tmp_path: Path, path: str
) -> None:
    run = builders.seal(builders.conclude(builders.make_run(tmp_path / "run")))
    asked = spec(size_ratio={"limit": 1})
    assert gate.judge(asked, run_folder.read(run)).state == "passed"
    files.write_text(run / path, (run / path).read_text() + " ")
    with pytest.raises(RecordError, match=f"{path}' was changed: its SHA-256 is"):
        gate.judge(asked, run_folder.read(run))
    with pytest.raises(RecordError, match=f"{path}' was changed: its SHA-256 is"):
        gate.keep(run_folder.read(run), tmp_path / "baselines")
    assert not (tmp_path / "baselines").exists()
