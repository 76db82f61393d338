from pathlib import Path
from typing import Any

import pytest

from edgekd.core import checking, records, run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Artifact, Finding
from edgekd.gate import baselines
from edgekd.gate import rules as gate
from edgekd.gate.evidence import Lint
from tests import builders
from tests.builders import Step


def findings(
    run: Path,
    baseline: baselines.Baseline | None = None,
    linter: Lint | None = None,
    **given: Any,
) -> tuple[Finding, ...]:
    spec = checking.checked(specs.Gate, given, "gate")
    return gate.judge(spec, run_folder.read(run), baseline=baseline, lint=linter).findings


def with_int8(folder: Path, size: int = 2**20) -> Path:
    return builders.make_run(folder, artifacts={"onnx-int8": Step(bytes=size)})


@pytest.mark.parametrize(
    ("size", "state"), [(2**20, "passed"), (2**20 + 1, "failed"), (1, "passed")]
)
def test_size_is_judged_in_mib(tmp_path: Path, size: int, state: str) -> None:
    assert findings(with_int8(tmp_path, size), size_mib={"limit": 1})[0].state == state


def test_size_is_compared_with_the_baselines(tmp_path: Path) -> None:
    then = run_folder.read(with_int8(tmp_path / "then", 1000))
    assert then.measurement is not None
    baseline = baselines.of(then, then.measurement)
    now = with_int8(tmp_path / "now", 1100)
    for limit, state in ((1.1, "passed"), (1.09, "failed")):
        rule = {"limit": limit}
        assert findings(now, baseline=baseline, size_baseline_ratio=rule)[0].state == state


def with_parity(folder: Path, **changes: Any) -> Path:
    run = with_int8(folder)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    parity = records.read(Artifact, path).parity.model_copy(update={"relative_error": 0.002})
    builders.change(Artifact, path, parity=parity, **changes)
    return run


@pytest.mark.parametrize(("limit", "state"), [(0.002, "passed"), (0.001, "failed")])
def test_parity_is_judged_in_standard_deviations(tmp_path: Path, limit: float, state: str) -> None:
    found = findings(with_parity(tmp_path), parity_sd={"limit": limit})[0]
    assert found.state == state
    assert found.unit == "sd"


def test_parity_on_random_data_may_fail_but_not_pass(tmp_path: Path) -> None:
    run = with_parity(tmp_path, accuracy_valid=False)
    assert findings(run, parity_sd={"limit": 0.1})[0].state == "inconclusive"
    assert findings(run, parity_sd={"limit": 0.001})[0].state == "failed"


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ({}, ["failed"]),
        ({"errors": 1}, ["passed"]),
        ({"errors": 1, "warnings": 2}, ["passed", "failed"]),
        ({"errors": 0, "warnings": 3}, ["failed", "passed"]),
    ],
)
def test_lint_is_judged_by_the_number_of_findings(
    tmp_path: Path, rule: dict[str, int], states: list[str]
) -> None:
    seen: list[Path] = []

    def lint(path: Path, artifact: Artifact) -> tuple[int, int]:
        seen.append(path)
        return 1, 3

    run = with_int8(tmp_path)
    found = findings(run, linter=lint, lint=rule)
    assert [finding.state for finding in found] == states
    file = run_folder.artifact(run, "onnx-int8") / "model.onnx"
    assert seen == [file]
    told = [finding.state for finding in found if f"see `edgekd lint {file}`" in finding.message]
    assert told == [state for state in states if state == "failed"]


def test_a_file_that_was_changed_is_not_linted(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    (run_folder.artifact(run, "onnx-int8") / "model.onnx").write_bytes(b"another")
    with pytest.raises(RecordError, match="was changed after its record was written"):
        findings(run, linter=lambda path, artifact: (0, 0), lint={})


def test_lint_without_a_linter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs the linter"):
        findings(with_int8(tmp_path), lint={})
