"""The rungs of a board, on a stand-in for TensorRT: what its engines compute is ONNX Runtime's."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekd.core import files, manifest, run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import BuiltEngine, Finding, Rung
from edgekd.core.run_folder import Run
from edgekd.export.formats import tensorrt
from edgekd.pipeline import gate, preflight, verify
from edgekd.pipeline import run as job
from edgekd.profile import local
from edgekd.report import facts, html
from tests import builders
from tests.pipeline import board

from .conftest import SMALL

NAME, ENGINE = "tensorrt-int8", "tensorrt-int8-engine"


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "GPU_WARM_UP_S", (0.0, 0.05))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield board.here(folder, patch, "10.3.0")


@pytest.fixture(scope="module")
def recipe(gpu: str) -> specs.Recipe:
    changes = [f"export.targets=['{NAME}']", f"profile.device='{gpu}'", "profile.builds=2"]
    return specs.load("digits", [*SMALL, *changes])


@pytest.fixture(scope="module")
def whole(finished: Run, recipe: specs.Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that went on to a board; read it, do not write to it."""
    folder = tmp_path_factory.mktemp("board") / "digits"
    shutil.copytree(finished.folder, folder)
    return job.run(recipe, folder, name="digits", resume=True)


def resumed(whole: Run, recipe: specs.Recipe, folder: Path) -> Run:
    """Evaluate the engine of a copy of a run anew."""
    shutil.copytree(whole.folder, folder)
    run_folder.accuracy(folder, ENGINE).unlink()
    return job.run(recipe, folder, name="digits", resume=True)


def rungs(run: Run) -> dict[str, Rung]:
    assert run.ladder is not None
    return {rung.name: rung for rung in run.ladder.rungs}


def finding(run: Run) -> Finding:
    assert run.verdict is not None
    return next(one for one in run.verdict.findings if one.rule == "top1_drop_pp")


def test_the_ladder_ends_with_the_engine_paired_with_its_file(whole: Run) -> None:
    *_, file, engine = rungs(whole)
    assert (file, engine) == (NAME, ENGINE)
    # The stand-in computes as ONNX Runtime does: no image differs.
    assert rungs(whole)[ENGINE].step_p_value == 1
    assert rungs(whole)[ENGINE].macs == rungs(whole)[NAME].macs


def test_the_engine_that_was_evaluated_is_the_one_whose_latency_is_reported(
    whole: Run, gpu: str
) -> None:
    assert whole.measurement is not None
    timing = whole.measurement.timings[-1]
    reported = [one.plan_sha256 for one in timing.builds if one.p50_ms == timing.p50_ms]
    plan = run_folder.artifact(whole.folder, NAME) / "model.plan"
    accuracy = whole.accuracies[ENGINE]
    assert [accuracy.subject_sha256] == reported == [files.sha256_of(plan)]
    assert (accuracy.device, accuracy.split) == (gpu, "test")
    assert tensorrt.origin(plan) == plan.with_name("model.onnx")
    assert rungs(whole)[ENGINE].bytes == plan.stat().st_size


def test_the_engines_parity_is_in_the_records(whole: Run, gpu: str) -> None:
    parity = whole.engines[NAME].parity
    assert (parity.device, parity.engine) == (gpu, "tensorrt 10.3.0")
    assert parity.to_file.state == "passed"
    assert parity.to_file.max_error < 1e-4


def test_the_gate_judges_the_engine_in_its_artifacts_name(whole: Run, gpu: str) -> None:
    found = finding(whole)
    assert found.artifact == NAME
    assert f"{NAME}, its engine on {gpu})" in found.message


def test_the_engine_leads_back_to_its_file_and_to_the_teacher(whole: Run) -> None:
    assert verify.verify(whole.folder).state == "intact"
    links = manifest.walk(whole).links
    assert links[f"accuracy/{ENGINE}.npz"].made_from == (f"artifacts/{NAME}/engine.json",)
    assert links[f"artifacts/{NAME}/model.plan"].made_from == (f"artifacts/{NAME}/artifact.json",)


def test_a_rival_has_an_engine_of_the_teacher_beside_the_ladder(
    whole: Run, recipe: specs.Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    export = recipe.export.model_copy(update={"rivals": True})
    run = job.run(recipe.model_copy(update={"export": export}), folder, name="digits", resume=True)
    assert set(run.engines) == {f"teacher-{NAME}", NAME}
    assert run.engines[f"teacher-{NAME}"].parity.to_checkpoint.state == "passed"
    assert run.shipped(f"teacher-{NAME}") in run.accuracies
    assert list(rungs(run)) == list(rungs(whole))


def test_the_report_shows_the_engine(whole: Run) -> None:
    assert ENGINE in html.html(whole)


def test_a_loss_in_the_engine_is_blamed_on_it_by_name_and_judged_by_the_gate(
    whole: Run, recipe: specs.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_STANDIN_SPOILT", "1")
    spoilt = resumed(whole, recipe, tmp_path / "run")
    assert spoilt.ladder is not None
    assert spoilt.ladder.blamed == ENGINE
    assert rungs(spoilt)[NAME] == rungs(whole)[NAME]
    drop = rungs(spoilt)[ENGINE].drop_pp
    measured = finding(spoilt).measured
    assert drop is not None
    assert measured is not None
    assert measured.value == pytest.approx(drop.value)
    assert any("does not follow its file in ONNX Runtime" in said for said in facts.doubts(spoilt))


def test_an_engine_of_another_file_or_that_was_changed_is_not_judged(
    whole: Run, recipe: specs.Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    for first in (manifest.FILE, run_folder.LEDGER):  # each would tell of the change before
        (folder / first).unlink()
    record = run_folder.artifact(folder, NAME) / "engine.json"
    builders.change(BuiltEngine, record, parents=("0" * 64,))
    with pytest.raises(RecordError, match=f"was built from another file than '{NAME}' is now"):
        gate.judge(recipe.gate, run_folder.read(folder))
    record.with_name("model.plan").write_bytes(b"changed")
    with pytest.raises(RecordError, match=r"model\.plan' was changed after its record"):
        gate.judge(recipe.gate, run_folder.read(folder))


def test_no_stage_may_be_called_like_an_engine(recipe: specs.Recipe) -> None:
    first, *others = recipe.stages
    stages = (first.model_copy(update={"name": ENGINE}), *others)
    with pytest.raises(UsageError, match=f"'{ENGINE}' names two steps"):
        preflight.check(recipe.model_copy(update={"stages": stages}))


def test_resuming_keeps_the_engine(whole: Run, recipe: specs.Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    record = run_folder.artifact(folder, NAME) / "engine.json"
    before = record.stat().st_mtime_ns
    job.run(recipe, folder, name="digits", resume=True)
    assert record.stat().st_mtime_ns == before


def test_on_another_device_the_engine_is_no_part_of_the_run(whole: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    here = specs.load("digits", [*SMALL, f"export.targets=['{NAME}']"])
    again = job.run(here, folder, name="digits", resume=True)
    assert again.engines == {}
    assert list(rungs(again))[-1] == NAME
    assert not (run_folder.artifact(folder, NAME) / "model.plan").exists()
