"""A run is found to be as it was, or the first change is named, with all that stands on it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgekd.core import files, records, run_folder, specs
from edgekd.core.errors import RecordError
from edgekd.core.manifest import Manifest
from edgekd.core.run_folder import Run
from edgekd.models import build
from edgekd.pipeline import run as job
from edgekd.pipeline import verify
from edgekd.report import html
from tests import builders


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Path:
    """A real run that may be changed."""
    return shutil.copytree(finished.folder, tmp_path / "run")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_finished_run_is_intact(finished: Run) -> None:
    found = verify.verify(finished.folder)
    assert (found.state, found.breaks, found.notes) == ("intact", (), ())
    assert found.sha256 == files.sha256_of(finished.folder / "manifest.json")
    assert verify.verify(finished.folder, sha256=found.sha256).state == "intact"


def test_a_changed_bit_in_any_file_is_found(run: Path) -> None:
    listed = list(records.read(Manifest, run / "manifest.json").files)
    assert len(listed) > 30
    for path in listed:
        before = (run / path).read_bytes()
        flip(run / path)
        found = verify.verify(run)
        assert (found.state, [one.file for one in found.breaks]) == ("broken", [path])
        (run / path).write_bytes(before)


def test_what_stands_on_the_changed_file_is_named(run: Path) -> None:
    flip(run / "checkpoints" / "deep" / "model.safetensors")
    affected = verify.verify(run).affected
    assert {"artifacts/onnx-int8/model.onnx", "verdict.json", "report.html"} <= set(affected)
    assert not any("teacher" in path or "pruned" in path for path in affected)


def test_a_changed_recipe_casts_doubt_on_everything_made_by_it(run: Path) -> None:
    tree = json.loads((run / "recipe.json").read_text())
    tree["gate"]["top1_drop_pp"]["margin"] = 90.0
    (run / "recipe.json").write_text(json.dumps(tree))
    found = verify.verify(run)
    assert found.breaks[0].file == "recipe.json"
    assert {"checkpoints/teacher/checkpoint.json", "verdict.json"} <= set(found.affected)


def test_an_edited_prediction_is_found_with_the_verdict_that_rests_on_it(run: Path) -> None:
    record = records.read(records.Accuracy, run / "accuracy" / "deep.json")
    labels_n = [0] * record.images
    builders.write_predictions(run / "accuracy" / "deep.npz", labels_n, labels_n)
    found = verify.verify(run)
    assert found.breaks[0].file == "accuracy/deep.npz"
    assert found.breaks[0].expected == record.predictions_sha256
    assert "verdict.json" in found.affected


def test_a_missing_file_is_found(run: Path) -> None:
    (run / "accuracy" / "deep.npz").unlink()
    (found,) = verify.verify(run).breaks
    assert (found.file, found.found) == ("accuracy/deep.npz", "missing")


def test_swapped_records_are_both_found(run: Path) -> None:
    one, other = run / "accuracy" / "deep.json", run / "accuracy" / "pruned.json"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    found = {fault.file for fault in verify.verify(run).breaks}
    assert found == {"accuracy/deep.json", "accuracy/pruned.json"}


def test_a_file_that_is_not_part_of_the_run_is_only_noted(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    found = verify.verify(run)
    assert found.state == "intact"
    assert found.notes == ("'notes.txt' is not part of the run",)


def test_a_record_that_was_added_later_is_found(run: Path) -> None:
    builders.write_accuracy(run, "other", builders.Step(), images=100, correct=90)
    found = verify.verify(run)
    assert found.state == "broken"
    assert "accuracy/other.json" in {fault.file for fault in found.breaks}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("commands", [["edgekd", "run", "other"]], "commands"), ("data", None, "images")],
)
def test_a_manifest_that_says_other_than_the_records_is_found(
    run: Path, field: str, value: object, told: str
) -> None:
    tree = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(tree | {field: value}))
    (fault,) = verify.verify(run).breaks
    assert fault.file == "manifest.json"
    assert fault.expected.startswith(told)


def test_a_manifest_that_was_changed_with_its_file_is_found_by_the_noted_hash(run: Path) -> None:
    noted = files.sha256_of(run / "manifest.json")
    before = files.sha256_of(run / "log.txt")
    (run / "log.txt").write_text("nothing happened")
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace(before, files.sha256_of(run / "log.txt")))
    assert verify.verify(run).state == "intact"
    found = verify.verify(run, sha256=noted)
    assert found.state == "broken"
    assert (found.breaks[0].file, found.breaks[0].expected) == ("manifest.json", noted)


def test_a_record_of_other_weights_does_not_pass_with_a_manifest_to_match(run: Path) -> None:
    """Every hash of a file is right, but the INT8 file was made from another checkpoint."""
    path = run / "artifacts" / "onnx-int8" / "artifact.json"
    before = files.sha256_of(path)
    builders.change(records.Artifact, path, parents=("f" * 64,))
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace(before, files.sha256_of(path)))
    found = verify.verify(run)
    assert found.state == "broken"
    assert found.breaks[0].file == "artifacts/onnx-int8/artifact.json"


def test_a_report_that_was_written_anew_from_the_same_records_is_right(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(html, "__version__", "0.0.1")
        html.write(run_folder.read(run), run / "report.html")
    assert verify.verify(run).state == "broken"
    found = run_folder.read(run)
    for shown in (found, replace(found, examples=None)):
        html.write(shown, run / "report.html")
        assert verify.verify(run).state == "intact"


def test_weights_of_elsewhere_are_named_by_the_run_that_began_with_them(tmp_path: Path) -> None:
    hashes = []
    for seed, name in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        path = tmp_path / f"{name}.safetensors"
        save_file(build.build("digits_resnet", 10).state_dict(), path)
        hashes.append(files.sha256_of(path))
    recipe = {
        "teacher": {"model": "digits_resnet", "weights": str(tmp_path / "teacher.safetensors")},
        "student": {"model": "digits_resnet", "weights": str(tmp_path / "student.safetensors")},
        "data": {"source": "digits", "train_images": 64},
        "export": {"targets": ["onnx-fp32"]},
        "profile": {"blocks": 6, "runs": 5},
        "gate": {"size_ratio": {"limit": 2.0}},
    }
    job.run(specs.parse(recipe, "own"), tmp_path / "run", name="own")
    assert verify.verify(tmp_path / "run").state == "intact"
    kept = records.read(Manifest, tmp_path / "run" / "manifest.json")
    assert kept.parents == tuple(hashes)


def test_an_unfinished_run_is_checked_by_its_ledger(run: Path) -> None:
    (run / "manifest.json").unlink()
    found = verify.verify(run)
    assert found.state == "unfinished"
    assert "no manifest.json" in found.notes[0]
    assert verify.verify(run, sha256="0" * 64).state == "broken"
    flip(run / "accuracy" / "deep.npz")
    assert verify.verify(run).state == "broken"


def test_a_manifest_that_names_a_file_outside_is_refused(run: Path) -> None:
    text = (run / "manifest.json").read_text()
    (run / "manifest.json").write_text(text.replace('"log.txt"', '"../../secret"'))
    found = verify.verify(run)
    assert found.state == "broken"
    assert "no path inside" in found.breaks[0].found


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="not a run's folder"):
        verify.verify(tmp_path)
