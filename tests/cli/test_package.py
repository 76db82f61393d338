"""``edgekd package``: what it prints, and what it refuses."""

import json
import zipfile
from pathlib import Path

import pytest

from edgekd.core import files, manifest, records
from tests import builders
from tests.cli.conftest import Command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with golden pairs, whose content does not matter here."""
    folder = builders.seal(builders.conclude(builders.make_run(tmp_path / "run", images=100)))
    for name in builders.ARTIFACTS:
        place = folder / "artifacts" / name
        files.write_bytes(place / "golden.npz", b"pairs")
        sha256 = files.sha256_of(place / "golden.npz")
        builders.change(records.Artifact, place / "artifact.json", golden_sha256=sha256)
    manifest.seal(folder, "digits", "cpu", 0)
    return folder


def test_package_tells_the_hashes_to_note(edgekd: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.zip"
    status, said, _ = edgekd("package", run, "--target", "onnx-int8", "--out", out)
    assert status == 0
    assert f"SHA-256 of the archive: {files.sha256_of(out)}" in said
    assert f"SHA-256 of manifest.json: {files.sha256_of(run / 'manifest.json')}" in said
    with zipfile.ZipFile(out) as packed:
        assert packed.read("model.onnx") == b"onnx-int8"


def test_package_prints_json(edgekd: Command, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "digits.zip"
    status, said, _ = edgekd("package", run, "--target", "onnx-fp32", "--out", out, "--json")
    found = json.loads(said)
    assert (status, found["target"], found["bytes"]) == (0, "onnx-fp32", out.stat().st_size)
    assert {"README.md", "verify.py", "model.onnx", "golden.npz"} <= set(found["names"])


def test_of_several_targets_one_must_be_named(edgekd: Command, run: Path, tmp_path: Path) -> None:
    status, _, err = edgekd("package", run, "--out", tmp_path / "digits.zip")
    assert status == 2
    assert "name one of onnx-fp32, onnx-int8 by --target" in err


def test_a_broken_run_ends_with_2_and_no_archive(
    edgekd: Command, run: Path, tmp_path: Path
) -> None:
    (run / "recipe.json").write_text("{}")
    out = tmp_path / "digits.zip"
    status, _, err = edgekd("package", run, "--target", "onnx-int8", "--out", out)
    assert status == 2
    assert "recipe.json: expected" in err
    assert not out.exists()
