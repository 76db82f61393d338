"""Rivals of the student in a small run: the teacher in the same precision, beside the ladder."""

import shutil
from pathlib import Path

import pytest

from edgekd.core import run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.pipeline import gate, package, verify
from edgekd.pipeline import run as job
from edgekd.report import facts, html

from .conftest import SMALL

RIVAL = "teacher-onnx-int8"


@pytest.fixture(scope="module")
def contested(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run, gone on with rivals; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("contested") / "digits"
    shutil.copytree(finished.folder, folder)
    recipe = specs.load("digits", [*SMALL, "export.rivals=true"])
    return job.run(recipe, folder, name="digits", resume=True)


def about(artifact: str) -> specs.Gate:
    return specs.Gate.model_validate({"size_ratio": {"limit": 2.0, "artifacts": (artifact,)}})


def test_a_rival_is_the_teacher_quantised(contested: Run) -> None:
    found = contested.artifacts[RIVAL]
    assert found.parents == (contested.checkpoints["teacher"].weights_sha256,)
    assert (found.target, found.precision) == ("onnx-int8", "int8")
    assert found.quantised_layers > 0
    assert set(contested.artifacts) == {REFERENCE, RIVAL, "onnx-int8"}


def test_a_rival_is_evaluated_and_measured_with_the_others(contested: Run) -> None:
    assert contested.accuracies[RIVAL].subject_sha256 == contested.artifacts[RIVAL].sha256
    assert contested.measurement is not None
    subjects = [timing.subject for timing in contested.measurement.timings]
    assert subjects[0] == REFERENCE
    assert set(subjects) == set(contested.artifacts)


def test_a_rival_is_no_rung_and_no_student(contested: Run, finished: Run) -> None:
    assert contested.ladder is not None
    assert finished.ladder is not None
    assert contested.ladder.rungs == finished.ladder.rungs
    assert [student.name for student in facts.students(contested)] == ["onnx-int8"]
    with pytest.raises(UsageError, match=f"no target '{RIVAL}'"):
        package.package(contested.folder, contested.folder.with_suffix(".zip"), RIVAL)


def test_no_rule_judges_a_rival_unless_it_names_it(contested: Run) -> None:
    assert contested.verdict is not None
    assert {finding.artifact for finding in contested.verdict.findings} == {"onnx-int8"}
    verdict = gate.judge(about(RIVAL), contested)
    assert [finding.artifact for finding in verdict.findings] == [RIVAL]


def test_the_reference_is_judged_by_no_rule(contested: Run) -> None:
    with pytest.raises(RecordError, match=f"is for '{REFERENCE}'"):
        gate.judge(about(REFERENCE), contested)


def test_a_rival_leads_back_to_the_teacher_and_is_in_the_report(contested: Run) -> None:
    assert verify.verify(contested.folder).state == "intact"
    assert RIVAL in html.html(contested)


def test_what_was_made_without_rivals_is_kept_with_them(contested: Run, finished: Run) -> None:
    for name, found in finished.artifacts.items():
        assert contested.artifacts[name] == found, name


def test_going_on_without_rivals_removes_them(
    contested: Run, small: specs.Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(contested.folder, folder)
    after = job.run(small, folder, name="digits", resume=True)
    assert set(after.artifacts) == {REFERENCE, "onnx-int8"}
    assert RIVAL not in after.accuracies
    assert not run_folder.artifact(folder, RIVAL).exists()
