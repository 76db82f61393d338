"""What leads from a verdict back to the teacher, on a run that was written by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edgekd.core import files, manifest, records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.manifest import Link, Manifest
from tests import builders

DEEP = "checkpoints/deep/model.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run, with its manifest."""
    return builders.seal(builders.conclude(builders.make_run(tmp_path / "run", images=100)))


def read(run: Path) -> Manifest:
    return records.read(Manifest, run / manifest.FILE)


def test_each_file_is_listed_with_its_hash(run: Path) -> None:
    listed = read(run).files
    there = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert set(listed) == there - {manifest.FILE}
    assert all(link.sha256 == files.sha256_of(run / path) for path, link in listed.items())


def test_the_readings_behind_an_energy_are_listed(run: Path) -> None:
    folder = run_folder.measurement(run)
    readings = folder / "samples.power.npz"
    readings.write_bytes(b"readings")
    energy = records.Energy(readings_file=readings.name, readings_sha256=files.sha256_of(readings))
    builders.change(records.Measurement, folder / "measurement.json", energy=energy)
    links = manifest.walk(run_folder.read(run)).links
    assert links["profile/samples.power.npz"].sha256 == files.sha256_of(readings)


def test_a_file_leads_back_to_the_teacher_and_the_recipe(run: Path) -> None:
    links = read(run).files
    way = ["verdict.json"]
    while links[way[-1]].made_from:
        way.append(links[way[-1]].made_from[-1])
    assert way[-1] == "recipe.json"
    back = {path for path in links if "verdict.json" in manifest.dependents(links, path)}
    assert {DEEP, "checkpoints/teacher/model.safetensors", "profile/samples.npz"} <= back
    assert links[DEEP].made_from == ("checkpoints/classifier/checkpoint.json",)
    assert "ladder.json" not in back


def test_what_was_made_from_a_file_leaves_out_what_came_before_it() -> None:
    links = {
        "a": Link(sha256="0"),
        "b": Link(sha256="1", made_from=("a",)),
        "c": Link(sha256="2", made_from=("b",)),
        "d": Link(sha256="3", made_from=("a",)),
    }
    assert manifest.dependents(links, "b") == ["c"]
    assert manifest.dependents(links, "a") == ["b", "c", "d"]
    assert manifest.dependents(links, "d") == []


def test_equal_files_made_from_one_another_do_not_hang_the_search() -> None:
    links = {"a": Link(sha256="0", made_from=("b",)), "b": Link(sha256="0", made_from=("a",))}
    assert manifest.dependents(links, "a") == ["b"]


def test_weights_of_elsewhere_are_the_parents_of_the_manifest(run: Path) -> None:
    path = run / "checkpoints" / "teacher" / "checkpoint.json"
    builders.change(records.Checkpoint, path, parents=("f" * 64,))
    assert manifest.seal(run, "digits", "cpu", 0).parents == ("f" * 64,)
    assert manifest.walk(run_folder.read(run)).breaks == ()


def test_only_the_teacher_and_a_students_first_weights_may_come_from_elsewhere(run: Path) -> None:
    path = run / "checkpoints" / "deep" / "checkpoint.json"
    builders.change(records.Checkpoint, path, parents=("f" * 64,))
    (found,) = manifest.walk(run_folder.read(run)).breaks
    assert (found.file, found.found) == ("checkpoints/deep/checkpoint.json", f"parent {'f' * 64}")


def test_a_student_made_from_nothing_breaks_the_chain(run: Path) -> None:
    path = run / "checkpoints" / "deep" / "checkpoint.json"
    builders.change(records.Checkpoint, path, parents=())
    (found,) = manifest.walk(run_folder.read(run)).breaks
    assert (found.file, found.found) == ("checkpoints/deep/checkpoint.json", "none")


def test_an_accuracy_on_other_images_breaks_the_chain(run: Path) -> None:
    path = run / "accuracy" / "deep.json"
    builders.change(records.Accuracy, path, images_sha256="0" * 64)
    (found,) = manifest.walk(run_folder.read(run)).breaks
    assert (found.file, found.found) == ("accuracy/deep.json", f"images {'0' * 64}")


def test_an_accuracy_of_another_model_breaks_the_chain(run: Path) -> None:
    path = run / "accuracy" / "deep.json"
    builders.change(records.Accuracy, path, subject_sha256=builders.sha256_of("pruned"))
    (found,) = manifest.walk(run_folder.read(run)).breaks
    assert found.file == "accuracy/deep.json"
    assert builders.sha256_of("deep") in found.expected


def test_a_record_that_names_a_file_of_elsewhere_is_refused(run: Path) -> None:
    path = run / "artifacts" / "onnx-int8" / "artifact.json"
    builders.change(records.Artifact, path, file="../../../secret")
    with pytest.raises(RecordError, match="lies elsewhere"):
        manifest.walk(run_folder.read(run))


@given(st.lists(st.sampled_from(["..", "a", "b.json"]), min_size=1).map("/".join))
def test_a_path_that_climbs_is_refused(path: str) -> None:
    if ".." in path.split("/"):
        with pytest.raises(ValidationError, match="no path inside"):
            Link(sha256="0", made_from=(path,))
    else:
        assert Link(sha256="0", made_from=(path,)).made_from == (path,)


@pytest.mark.parametrize("path", ["/etc/passwd", "", "a\\..\\b", "a\0b"])
def test_a_path_that_is_not_relative_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="no path inside"):
        Link(sha256="0", made_from=(path,))


# Records that are held against the manifest or the ledger


def ledger(run: Path) -> Path:
    """Let an unfinished run's ledger name its records, as its steps would."""
    (run / manifest.FILE).unlink()
    outputs = {path: link.sha256 for path, link in _links(run).items() if link.made_from}
    step = records.Step(name="all", key="0", outputs=outputs, seconds=1.0)
    made = run_folder.read(run).checkpoints["teacher"].provenance
    records.write(
        records.Ledger(provenance=made, recipe="digits", steps=(step,)), run / run_folder.LEDGER
    )
    return run


def _links(run: Path) -> dict[str, Link]:
    return manifest.walk(run_folder.read(run)).links


INT8 = "artifacts/onnx-int8/artifact.json"


def test_records_are_as_they_were_written(run: Path) -> None:
    manifest.check_records(run_folder.read(run))
    manifest.check_records(run_folder.read(ledger(run)))


@pytest.mark.parametrize("source", ["manifest.json", "ledger.json"])
def test_a_record_that_is_gone_or_changed_is_named(run: Path, source: str) -> None:
    if source == "ledger.json":
        ledger(run)
    text = (run / INT8).read_text()
    (run / INT8).write_text(text + " ")
    with pytest.raises(RecordError, match=rf"{INT8}' was changed: its .*{source} says"):
        manifest.check_records(run_folder.read(run))
    (run / INT8).unlink()  # a student that nobody judges must not let the others pass
    with pytest.raises(RecordError, match=rf"{INT8}' is missing, but {source} says"):
        manifest.check_records(run_folder.read(run))


def test_a_record_that_was_added_later_is_named(run: Path) -> None:
    builders.write_engine(run, "onnx-int8", builders.Step())
    with pytest.raises(RecordError, match=r"engine\.json' was added after the run ended"):
        manifest.check_records(run_folder.read(run))


def test_weights_need_not_be_there_to_judge(run: Path) -> None:
    (run / DEEP).unlink()
    manifest.check_records(run_folder.read(run))
