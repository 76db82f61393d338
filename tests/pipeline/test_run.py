"""The whole job on real digits: what it leaves behind, and what survives an interruption."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from edgekd.core import files, records, run_folder, specs
from edgekd.core.errors import EnvironmentMissingError, UsageError
from edgekd.core.progress import Task
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.pipeline import job as jobs
from edgekd.pipeline import run as job
from edgekd.pipeline.job import Job

from .conftest import SMALL


class StopAt:
    """A listener that raises when a task has advanced so far."""

    def __init__(self, title: str, amount: int, error: type[BaseException]) -> None:
        self.title, self.amount, self.error = title, amount, error

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        outer, done = self, 0

        class Counting:
            def advance(self, amount: int = 1, note: str = "") -> None:
                nonlocal done
                done += amount
                if title == outer.title and done >= outer.amount:
                    raise outer.error

        yield Counting()


def test_the_ladder_has_a_rung_for_every_step(finished: Run) -> None:
    assert finished.ladder is not None
    names = [rung.name for rung in finished.ladder.rungs]
    assert names == [
        "teacher", REFERENCE, "pruned", "recalibrated", "classifier", "deep", "onnx-int8",
    ]  # fmt: skip


def test_every_record_can_be_walked_back_to_the_teacher(finished: Run) -> None:
    checkpoints = finished.checkpoints
    teacher = checkpoints["teacher"].weights_sha256
    assert checkpoints["pruned"].parents == (teacher,)
    assert checkpoints["recalibrated"].parents == (checkpoints["pruned"].weights_sha256,)
    assert checkpoints["classifier"].parents == (
        checkpoints["recalibrated"].weights_sha256,
        teacher,
    )
    assert checkpoints["deep"].parents == (checkpoints["classifier"].weights_sha256, teacher)
    assert finished.artifacts["onnx-int8"].parents == (checkpoints["deep"].weights_sha256,)
    assert finished.accuracies["onnx-int8"].subject_sha256 == finished.artifacts["onnx-int8"].sha256


def test_the_pruned_student_has_about_a_third_of_the_macs(finished: Run) -> None:
    share = finished.checkpoints["deep"].macs / finished.checkpoints["teacher"].macs
    assert 0.32 <= share <= 0.38


def test_the_classifier_stage_leaves_the_backbone_as_it_was(finished: Run) -> None:
    from safetensors.numpy import load_file

    before = load_file(run_folder.checkpoint(finished.folder, "recalibrated") / "model.safetensors")
    after = load_file(run_folder.checkpoint(finished.folder, "classifier") / "model.safetensors")
    changed = {name for name in before if not (before[name] == after[name]).all()}
    assert len({name.rpartition(".")[0] for name in changed}) <= 1  # one layer, if any


def test_the_test_images_are_other_images_than_those_that_were_chosen_by(finished: Run) -> None:
    data = finished.checkpoints["deep"].data
    assert data is not None
    assert len(set(data.sha256.values())) == 3
    assert data.images["test"] >= 700
    assert finished.accuracies["deep"].images_sha256 == data.sha256["test"]


def test_no_unfinished_state_is_left(finished: Run) -> None:
    assert not (finished.folder / "unfinished").exists()
    assert list(finished.folder.glob(".*")) == []


def test_a_second_run_with_resume_keeps_every_step(
    finished: Run, small: specs.Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.*")}
    job.run(small, folder, name="digits", resume=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model.*")} == before


def test_resuming_with_another_rule_judges_anew_and_trains_nothing(
    finished: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    strict = specs.load("digits", [*SMALL, "gate.size_ratio.limit=0.001"])
    before = (folder / "checkpoints" / "deep" / "model.safetensors").stat().st_mtime_ns
    again = job.run(strict, folder, name="digits", resume=True)
    assert again.verdict is not None
    assert again.verdict.state == "failed"
    assert (folder / "checkpoints" / "deep" / "model.safetensors").stat().st_mtime_ns == before


def test_another_normalisation_makes_everything_anew(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    weights = tmp_path / "teacher.safetensors"
    shutil.copyfile(folder / "checkpoints" / "teacher" / "model.safetensors", weights)
    tree = specs.load("digits", SMALL).model_dump(mode="json")
    tree["teacher"] |= {"train": None, "weights": str(weights), "mean": [0.5], "std": [0.5]}
    again = job.run(specs.parse(tree, "digits"), folder, name="digits", resume=True)
    # The weights are the same bytes as before; what they see is not.
    for name, found in again.checkpoints.items():
        assert found.normalisation.mean == (0.5,), name
    for name, artifact in again.artifacts.items():
        assert artifact.normalisation.mean == (0.5,), name
    assert again.accuracies["teacher"].correct != finished.accuracies["teacher"].correct


def test_what_an_earlier_recipe_left_is_not_judged(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    other = specs.load("digits", [*SMALL, "export.targets=['onnx-fp32']"])
    again = job.run(other, folder, name="digits", resume=True)
    assert list(again.artifacts) == [REFERENCE, "onnx-fp32"]
    assert "onnx-int8" not in again.accuracies


def test_a_file_that_was_changed_is_made_again(
    finished: Run, small: specs.Recipe, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    model = folder / "artifacts" / "onnx-int8" / "model.onnx"
    model.write_bytes(b"damaged")
    job.run(small, folder, name="digits", resume=True)
    assert files.sha256_of(model) == finished.artifacts["onnx-int8"].sha256


def test_an_interrupted_stage_resumes_to_the_very_same_weights(
    finished: Run, tmp_path: Path
) -> None:
    longer = specs.load("digits", [*SMALL, "stages.1.epochs=2"])
    whole = job.run(longer, tmp_path / "whole", name="digits")
    steps = 256 // longer.data.batch_size
    listener = StopAt("deep", steps + 1, KeyboardInterrupt)  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        job.run(longer, tmp_path / "cut", name="digits", progress=listener)
    assert not run_folder.checkpoint(tmp_path / "cut", "deep").exists()
    resumed = job.run(longer, tmp_path / "cut", name="digits", resume=True)
    assert resumed.checkpoints["deep"].weights_sha256 == whole.checkpoints["deep"].weights_sha256


def test_a_killed_process_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = [part for setting in SMALL for part in ("--set", setting)]
    settings += ["--set", "teacher.train.epochs=500"]  # long enough to be killed in
    command = [sys.executable, "-m", "edgekd", "run", "digits", "--out", str(folder), *settings]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not list((folder / "unfinished").glob("teacher/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list((folder / "unfinished").glob("teacher/*"))
    short = specs.load("digits", SMALL)
    finished = job.run(short, folder, name="digits", resume=True)
    assert finished.verdict is not None


def test_ctrl_c_says_how_to_go_on_and_ends_with_130(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "edgekd", "run", "digits", "--out", str(folder)]
    command += ["--set", "teacher.train.epochs=500"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever starts the tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 300
    while not list((folder / "unfinished").glob("teacher/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    again = f"edgekd run digits --set=teacher.train.epochs=500 --out {folder} --resume"
    assert again in errors
    assert "Traceback" not in errors


def test_a_full_disk_is_named_and_the_run_goes_on_afterwards(
    small: specs.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "deep" in str(path):
            raise OSError(28, os.strerror(28))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EnvironmentMissingError, match="is full"):
        job.run(small, folder, name="digits")
    monkeypatch.undo()
    teacher = (run_folder.checkpoint(folder, "teacher") / "model.safetensors").stat().st_mtime_ns
    finished = job.run(small, folder, name="digits", resume=True)
    assert finished.verdict is not None
    kept = run_folder.checkpoint(folder, "teacher") / "model.safetensors"
    assert kept.stat().st_mtime_ns == teacher


def test_a_folder_that_holds_a_run_is_not_overwritten(finished: Run, small: specs.Recipe) -> None:
    with pytest.raises(UsageError, match="--resume"):
        job.run(small, finished.folder, name="digits")


def test_a_folder_that_holds_something_else_is_left_alone(
    small: specs.Recipe, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="something else than a run"):
        job.run(small, tmp_path, name="digits", resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_runs_are_numbered_and_the_latest_is_resumed(tmp_path: Path) -> None:
    assert job.next_folder(tmp_path, resume=False) == tmp_path / "1"
    for number in ("2", "10"):
        (tmp_path / number).mkdir()
    assert job.next_folder(tmp_path, resume=False) == tmp_path / "11"
    assert job.next_folder(tmp_path, resume=True) == tmp_path / "11"


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run to resume"):
        job.next_folder(tmp_path, resume=True)


def test_the_ledger_names_every_output_by_its_hash(finished: Run) -> None:
    ledger = records.read(records.Ledger, finished.folder / "ledger.json")
    outputs = {path: sha for step in ledger.steps for path, sha in step.outputs.items()}
    assert outputs["checkpoints/deep/model.safetensors"] == (
        finished.checkpoints["deep"].weights_sha256
    )
    assert all(files.sha256_of(finished.folder / path) == sha for path, sha in outputs.items())


def test_two_processes_do_not_work_in_one_folder(small: specs.Recipe, tmp_path: Path) -> None:
    def start(*, resume: bool) -> AbstractContextManager[Job]:
        return jobs.start(small, tmp_path / "run", "digits", resume=resume, progress=None)

    with start(resume=False), pytest.raises(UsageError, match="another process is at work"):
        start(resume=True).__enter__()
    with start(resume=True):
        pass  # the lock went with its owner
