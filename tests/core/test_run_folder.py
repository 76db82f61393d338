import json
import shutil
from pathlib import Path

import pytest

from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from tests import builders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, as far as the measurement."""
    return builders.make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def test_records_are_found_by_name_in_the_order_in_which_they_were_made(made: Path) -> None:
    run = run_folder.read(made)
    assert list(run.checkpoints) == ["teacher", *builders.CHECKPOINTS]
    assert set(run.artifacts) == {run_folder.REFERENCE, *builders.ARTIFACTS}
    assert run.measurement is not None


def test_accuracies_come_in_the_order_in_which_they_were_made(folder: Path) -> None:
    names = sorted(run_folder.read(folder).accuracies, reverse=True)
    for minute, name in enumerate(names):
        path = run_folder.accuracy(folder, name)
        tree = json.loads(path.read_text())
        tree["provenance"]["made_at"] = f"2026-01-01T00:{minute:02}:00Z"
        path.write_text(json.dumps(tree))
    assert list(run_folder.read(folder).accuracies) == names


def test_records_that_were_made_at_once_come_in_the_order_of_their_names(folder: Path) -> None:
    for path in (folder / "checkpoints").glob("*/checkpoint.json"):
        tree = json.loads(path.read_text())
        tree["provenance"]["made_at"] = "2026-01-01T00:00:00Z"
        path.write_text(json.dumps(tree))
    assert list(run_folder.read(folder).checkpoints) == sorted(["teacher", *builders.CHECKPOINTS])


def test_what_is_not_there_yet_is_missing_and_no_error(folder: Path) -> None:
    run = run_folder.read(folder)
    assert run.verdict is None
    for part in ("checkpoints", "artifacts", "accuracy", "profile"):
        shutil.rmtree(folder / part)
    run = run_folder.read(folder)
    assert not run.checkpoints
    assert not run.artifacts
    assert not run.accuracies
    assert run.measurement is None


def test_the_places_of_writers_are_those_of_the_reader(made: Path) -> None:
    assert (run_folder.checkpoint(made, "teacher") / "checkpoint.json").is_file()
    assert (run_folder.artifact(made, run_folder.REFERENCE) / "artifact.json").is_file()
    assert run_folder.accuracy(made, "teacher").is_file()
    assert (run_folder.measurement(made) / "measurement.json").is_file()


def test_another_folder_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RecordError, match=r"is not a run's folder: it has no 'recipe\.json'"):
            run_folder.read(folder)


@pytest.mark.parametrize(
    "file",
    ["checkpoints/teacher/checkpoint.json", "accuracy/teacher.json", "profile/measurement.json"],
)
def test_a_damaged_record_is_named_wherever_it_lies(folder: Path, file: str) -> None:
    tree = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(tree | {"schema_version": 9}))
    with pytest.raises(RecordError, match=rf"{file}' is no"):
        run_folder.read(folder)


def test_a_folder_without_its_record_is_passed_over(folder: Path) -> None:
    # A crash may leave one behind.
    (folder / "checkpoints" / "half").mkdir()
    (folder / "checkpoints" / "half" / "model.safetensors").touch()
    assert "half" not in run_folder.read(folder).checkpoints


def test_an_accuracy_cannot_speak_for_another_model(folder: Path) -> None:
    text = (folder / "accuracy" / "deep.json").read_text()
    (folder / "accuracy" / "copy.json").write_text(text)
    with pytest.raises(RecordError, match=r"copy\.json' is about 'deep'"):
        run_folder.read(folder)


def test_a_verdict_is_read_once_it_is_there(folder: Path) -> None:
    teacher = run_folder.read(folder).accuracies["teacher"]
    verdict = records.Verdict(provenance=teacher.provenance, findings=(), state="passed")
    records.write(verdict, folder / "verdict.json")
    assert run_folder.read(folder).verdict == verdict
