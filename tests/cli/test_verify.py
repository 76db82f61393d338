"""``edgekd verify``: its words, its JSON, its status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.core import files
from tests import builders
from tests.cli.conftest import Command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return builders.seal(builders.conclude(builders.make_run(tmp_path / "run", images=100)))


def test_an_intact_run_ends_with_0_and_tells_the_hash_to_note(edgekd: Command, run: Path) -> None:
    status, out, _ = edgekd("verify", run)
    noted = files.sha256_of(run / "manifest.json")
    assert status == 0
    assert out.startswith("intact: ")
    assert f"SHA-256 of manifest.json: {noted}" in out
    assert edgekd("verify", run, "--sha256", noted)[0] == 0


def test_a_broken_run_ends_with_2_and_names_file_and_hashes(edgekd: Command, run: Path) -> None:
    path = run / "artifacts" / "onnx-int8" / "model.onnx"
    before = files.sha256_of(path)
    path.write_text("another network")
    status, out, _ = edgekd("verify", run)
    assert status == 2
    after = files.sha256_of(path)
    assert f"artifacts/onnx-int8/model.onnx: expected {before}, found {after}" in out
    assert "artifacts/onnx-int8/artifact.json" in out.splitlines()[-2]


def test_json_names_the_first_break_and_what_stands_on_it(edgekd: Command, run: Path) -> None:
    (run / "accuracy" / "deep.npz").unlink()
    status, out, _ = edgekd("verify", run, "--json")
    found = json.loads(out)
    assert (status, found["state"]) == (2, "broken")
    assert (found["breaks"][0]["file"], found["breaks"][0]["found"]) == (
        "accuracy/deep.npz",
        "missing",
    )
    assert "ladder.json" in found["affected"]


def test_a_run_without_a_manifest_ends_with_3(edgekd: Command, run: Path) -> None:
    (run / "manifest.json").unlink()
    status, out, err = edgekd("verify", run)
    assert status == 3
    assert out.startswith("unfinished: ")
    assert f"--out {run} --resume" in err


def test_verifying_needs_neither_torch_nor_onnx(run: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxruntime', 'scipy']))\n"
        "from pathlib import Path\n"
        "from edgekd.pipeline import verify\n"
        f"assert verify.verify(Path({str(run)!r})).state == 'intact'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
