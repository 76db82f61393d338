"""A bundle holds all that is needed to check it where nothing of edgekd is."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekd.agent import infer
from edgekd.core import files, manifest, records
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.run_folder import Run
from edgekd.export import golden
from edgekd.pipeline import package, proof

PROTECTED = ["model.onnx", "golden.npz", "artifact.json", *package.RECORDS]

# As on a machine that has never heard of edgekd.
WITHOUT_EDGEKD = (
    "import runpy, sys; sys.modules['edgekd'] = None; runpy.run_path({!r}, run_name='__main__')"
)


@pytest.fixture(scope="module")
def archive(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.package(finished.folder, tmp_path_factory.mktemp("out") / "digits.zip").file


@pytest.fixture
def bundle(archive: Path, tmp_path: Path) -> Path:
    """A bundle that was unpacked, and may be changed."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Path:
    """A real run that may be changed."""
    return shutil.copytree(finished.folder, tmp_path / "run")


def check(bundle: Path) -> tuple[int, str]:
    code = WITHOUT_EDGEKD.format(str(bundle / "verify.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        capture_output=True, text=True, check=False, cwd=bundle.parent,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_an_unpacked_bundle_proves_itself_without_edgekd(bundle: Path) -> None:
    status, said = check(bundle)
    assert status == 0
    assert "16 of 16 images have the same class" in said
    assert said.endswith("OK\n")
    assert files.sha256_of(bundle / "manifest.json") in said


def test_a_changed_model_fails_the_proof(bundle: Path) -> None:
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    status, said = check(bundle)
    assert status == 1
    assert said.startswith("model.onnx: expected ")
    assert said.endswith("FAILED\n")


@pytest.mark.parametrize("name", PROTECTED)
@pytest.mark.parametrize("change", ["missing", "longer"])
def test_any_other_file_fails_the_proof(
    bundle: Path, capsys: pytest.CaptureFixture[str], name: str, change: str
) -> None:
    if change == "missing":
        (bundle / name).unlink()
    else:
        with (bundle / name).open("ab") as file:
            file.write(b"\n")
    assert proof.main(bundle) == 1
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": {}}', "\xff"])
def test_a_damaged_manifest_fails_the_proof_without_a_traceback(
    bundle: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (bundle / "manifest.json").write_text(content, encoding="latin-1")
    assert proof.main(bundle) == 1
    assert capsys.readouterr().out.endswith("FAILED\n")


def test_a_model_that_answers_otherwise_fails_though_all_hashes_fit(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images_nhwc, logits_nk = golden.read(bundle / "golden.npz")
    before = files.sha256_of(bundle / "golden.npz")
    golden.write(bundle / "golden.npz", images_nhwc, -logits_nk)
    text = (bundle / "manifest.json").read_text()
    after = files.sha256_of(bundle / "golden.npz")
    (bundle / "manifest.json").write_text(text.replace(before, after))
    assert proof.main(bundle) == 1
    assert "standard deviations, allowed are" in capsys.readouterr().out


def test_a_file_that_onnx_runtime_refuses_fails_without_a_traceback(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files.sha256_of(bundle / "model.onnx")
    (bundle / "model.onnx").write_bytes(b"no network")
    text = (bundle / "manifest.json").read_text()
    after = files.sha256_of(bundle / "model.onnx")
    (bundle / "manifest.json").write_text(text.replace(before, after))
    assert proof.main(bundle) == 1
    assert "ONNX Runtime cannot run the model" in capsys.readouterr().out


def test_the_proof_prepares_images_as_the_agent_does() -> None:
    images_nhwc = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    agents = infer.normalise(images_nhwc, mean, std)
    assert proof.prepare(images_nhwc, mean, std) == pytest.approx(agents, abs=1e-6)
    white = proof.prepare(np.full((1, 1, 1, 1), 255, np.uint8), [0.5], [0.25])
    assert white.item() == 2.0


def test_the_same_run_gives_the_same_bytes(finished: Run, archive: Path, tmp_path: Path) -> None:
    again = package.package(finished.folder, tmp_path / "again.zip", "onnx-int8")
    assert again.file.read_bytes() == archive.read_bytes()
    assert again.sha256 == files.sha256_of(archive)
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == sorted(again.names)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}


def test_the_readme_says_how_images_are_prepared(finished: Run, bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    artifact = finished.artifacts["onnx-int8"]
    rule = artifact.normalisation
    assert f"numpy.array({list(rule.mean)}" in text
    assert f"numpy.array({list(rule.std)}" in text
    assert artifact.sha256 in text
    assert "uint8 [N, 8, 8, 1]" in text
    assert "\n9. 9\n" in text


def test_a_run_that_is_not_intact_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "accuracy" / "deep.npz").write_bytes(b"better")
    with pytest.raises(RecordError, match=r"accuracy/deep.npz: expected .*`edgekd verify"):
        package.package(run, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(RecordError, match=r"cannot be packaged: the run has no manifest\.json"):
        package.package(run, tmp_path / "a.zip")


def test_a_target_that_was_not_exported_is_refused(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'onnx-int8'"):
        package.package(finished.folder, tmp_path / "a.zip", "onnx-int4")


def test_an_archive_of_another_kind_is_refused(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.zip"):
        package.package(finished.folder, tmp_path / "a.tar")


def test_a_model_without_golden_pairs_is_refused(run: Path, tmp_path: Path) -> None:
    folder = run / "artifacts" / "onnx-int8"
    record = records.read(records.Artifact, folder / "artifact.json")
    records.write(record.model_copy(update={"golden_sha256": None}), folder / "artifact.json")
    (folder / "golden.npz").unlink()
    manifest.seal(run, "digits", "cpu", 0)
    with pytest.raises(RecordError, match="has no golden pairs"):
        package.package(run, tmp_path / "a.zip")
