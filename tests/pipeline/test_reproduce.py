"""A run that is done again gives the same bits; where it need not, the gate's margin decides."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import files, manifest, records
from edgekd.core.errors import CheckpointError, DataError, RecordError
from edgekd.core.run_folder import Run
from edgekd.core.specs import Recipe
from edgekd.data import sources
from edgekd.pipeline import reproduce, verify
from edgekd.pipeline import run as job
from edgekd.pipeline.reproduce import Comparison, Reproduction
from tests import builders


@pytest.fixture
def again(finished: Run, tmp_path: Path) -> Path:
    """What another run of the same recipe has left, to be changed."""
    return shutil.copytree(finished.folder, tmp_path / "again")


def seal(run: Path, **changes: object) -> None:
    """Write the manifest anew, as if the run had ended so."""
    manifest.seal(run, "digits", "cpu", 0)
    builders.change(manifest.Manifest, run / manifest.FILE, **changes)


def elsewhere(run: Path) -> None:
    """Let a run be one of another machine."""
    kept = records.read(manifest.Manifest, run / manifest.FILE).provenance
    seal(run, provenance=kept.model_copy(update={"machine": "another"}))


def answer(run: Path, name: str, wrong: int) -> None:
    """Give a model other weights, with all test images right but the first ``wrong``."""
    path = run / "accuracy" / f"{name}.json"
    record = records.read(records.Accuracy, path)
    labels_n = np.load(path.with_suffix(".npz"))["labels"]
    answers_n = np.where(np.arange(len(labels_n)) < wrong, (labels_n + 1) % 10, labels_n)
    builders.write_predictions(path.with_suffix(".npz"), labels_n, answers_n)
    sha256 = files.sha256_of(path.with_suffix(".npz"))
    changes = {"predictions_sha256": sha256, "correct": record.images - wrong}
    builders.change(records.Accuracy, path, **changes)
    folder = run / "checkpoints" / name
    builders.change(records.Checkpoint, folder / "checkpoint.json", weights_sha256="f" * 64)


def of(found: Reproduction, subject: str) -> Comparison:
    return next(one for one in found.comparisons if one.subject == subject)


@pytest.mark.slow
def test_a_run_that_is_done_again_gives_the_same_bits(finished: Run, tmp_path: Path) -> None:
    found = reproduce.reproduce(finished.folder, tmp_path / "again")
    assert found.environment == ()
    assert found.must_be_equal
    models = [of(found, name) for name in (*finished.checkpoints, *finished.artifacts)]
    assert {(one.state, one.message) for one in models} == {("passed", "bit by bit the same")}
    assert verify.verify(tmp_path / "again").state == "intact"


def test_the_new_run_follows_the_stored_recipe_and_is_what_is_compared(
    finished: Run, small: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def done(recipe: Recipe, folder: Path, **arguments: object) -> None:
        assert recipe == small
        assert arguments["name"] == "digits"
        shutil.copytree(finished.folder, folder)
        answer(folder, "deep", wrong=300)
        seal(folder)

    monkeypatch.setattr(job, "run", done)
    found = reproduce.reproduce(finished.folder, tmp_path / "out")
    assert found.folder == tmp_path / "out"
    assert [one.subject for one in found.comparisons if one.state == "failed"] == ["deep"]


def test_a_run_compared_with_itself_is_the_same(finished: Run) -> None:
    found = reproduce.compare(finished.folder, finished.folder)
    assert found.state == "passed"
    rules = {finding.rule for finding in finished.verdict.findings if not finding.informative}
    assert {one.subject.partition(" of ")[0] for one in found.comparisons} >= rules


def test_other_weights_on_the_same_machine_are_a_failure(finished: Run, again: Path) -> None:
    answer(again, "deep", wrong=0)
    seal(again)
    found = reproduce.compare(finished.folder, again)
    assert found.must_be_equal
    assert (found.state, of(found, "deep").state) == ("failed", "failed")
    assert "OMP_NUM_THREADS" in of(found, "deep").message


@pytest.mark.parametrize(
    ("wrong", "state"), [((0, 1), "passed"), ((0, 200), "failed"), ((0, 14), "inconclusive")]
)
def test_elsewhere_the_gates_margin_decides(
    finished: Run, again: Path, tmp_path: Path, wrong: tuple[int, int], state: str
) -> None:
    """Of 720 images, 2 % is the margin: 14 wrong ones lie at it."""
    first = shutil.copytree(finished.folder, tmp_path / "first")
    answer(first, "deep", wrong[0])
    answer(again, "deep", wrong[1])
    builders.change(
        records.Checkpoint, again / "checkpoints/deep/checkpoint.json", weights_sha256="e" * 64
    )
    seal(first)
    elsewhere(again)
    found = reproduce.compare(first, again)
    assert not found.must_be_equal
    assert of(found, "deep").state == state
    # Better by so much is as little a reproduction as worse.
    assert of(reproduce.compare(again, first), "deep").state == state


def test_what_differs_in_the_environment_is_said(finished: Run, again: Path) -> None:
    kept = records.read(manifest.Manifest, again / manifest.FILE).provenance
    versions = {**kept.versions, "torch": "9.9", "more": "1"}
    seal(again, provenance=kept.model_copy(update={"versions": versions}), device="cuda")
    found = reproduce.compare(finished.folder, again)
    assert found.environment == (
        "more: not there, now 1",
        f"torch: {kept.versions['torch']}, now 9.9",
        "device: cpu, now cuda",
    )
    assert not found.must_be_equal
    assert found.state == "passed"


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        ("passed", "passed", "passed"),
        ("passed", "failed", "failed"),
        ("failed", "passed", "failed"),
        ("passed", "inconclusive", "inconclusive"),
        ("inconclusive", "failed", "inconclusive"),
    ],
)
def test_another_verdict_is_a_failure_unless_one_of_them_was_none(
    finished: Run, again: Path, tmp_path: Path, before: str, after: str, state: str
) -> None:
    first = shutil.copytree(finished.folder, tmp_path / "first")
    for run, outcome in ((first, before), (again, after)):
        findings = [
            finding.model_copy(update={"state": outcome} if finding.rule == "size_ratio" else {})
            for finding in finished.verdict.findings
        ]
        builders.change(records.Verdict, run / "verdict.json", findings=tuple(findings))
        seal(run)
    found = reproduce.compare(first, again)
    size = of(found, "size_ratio of onnx-int8")
    assert (found.state, size.state) == (state, state)
    assert size.message == f"{before} then, {after} now"


def test_a_run_that_is_not_intact_is_not_done_again(again: Path, tmp_path: Path) -> None:
    (again / "recipe.json").write_text("{}")
    with pytest.raises(RecordError, match="is broken: see `edgekd verify"):
        reproduce.reproduce(again, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_images_are_refused_before_anything_is_computed(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = sources.load
    monkeypatch.setattr(sources, "load", lambda data, seed: load(data, seed=seed + 1))
    with pytest.raises(DataError, match="the train images of 'digits' are not those of the run"):
        reproduce.reproduce(finished.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_weights_of_the_teacher_are_refused(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"others")
    recipe = reproduce._recipe(
        finished.folder, records.read(manifest.Manifest, finished.folder / manifest.FILE)
    )
    teacher = recipe.teacher.model_copy(update={"weights": tmp_path / "w.pth", "train": None})
    with pytest.raises(CheckpointError, match=r"w\.pth' is not the file that the run has read"):
        reproduce._check_weights(recipe.model_copy(update={"teacher": teacher}), finished)
