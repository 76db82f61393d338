"""What ``edgekd gate`` leaves for CI: files, annotations, and nothing that is out of date."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests import builders
from tests.builders import Step
from tests.cli.conftest import Command

WORSE = Step(lost=60, gained=6, bytes=110_000)  # 5.4 pp below the teacher


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose student is worse than the recipe's margin, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return builders.make_run(Path("run"), artifacts={"onnx-int8": WORSE})


def test_every_form_tells_the_same_verdict(edgekd: Command, run: Path) -> None:
    status, out, _ = edgekd(
        "gate", run, "--junit", "g.xml", "--markdown", "g.md", "--sarif", "g.sarif", "--json"
    )
    assert status == 1
    assert json.loads(out)["state"] == "failed"
    assert ET.parse("g.xml").getroot().get("failures") == "1"
    assert Path("g.md").read_text().startswith("### edgekd gate: failed\n")
    (result,) = json.loads(Path("g.sarif").read_text())["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    lines = Path(place["artifactLocation"]["uri"]).read_text().splitlines()
    assert '"top1_drop_pp": {' in lines[place["region"]["startLine"] - 1]


def test_annotations_leave_stdout_to_the_result(
    edgekd: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("GITHUB_OUTPUT", "output")
    status, out, err = edgekd("gate", run, "--github", "--json")
    assert status == 1
    assert json.loads(out)["state"] == "failed"
    assert err.startswith("::error title=edgekd gate%3A top1_drop_pp onnx-int8 failed,file=run/")
    assert Path("output").read_text() == "verdict=failed\n"
    assert "| **failed** | top1_drop_pp | onnx-int8 |" in Path("summary.md").read_text()


def test_no_file_of_an_earlier_verdict_stays_when_none_can_be_given(
    edgekd: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("GITHUB_OUTPUT", "output")
    told = ("gate", run, "--github", "--junit", "g.xml", "--markdown", "g.md", "--sarif", "g.sarif")
    assert edgekd(*told)[0] == 1
    (run / "accuracy" / "onnx-int8.npz").unlink()
    status, out, err = edgekd(*told)
    assert (status, out) == (2, "")
    assert err.startswith("::error title=edgekd gate::")
    assert "onnx-int8.npz' is missing" in err.splitlines()[0]
    assert not [path for path in ("g.xml", "g.md", "g.sarif") if Path(path).exists()]
    assert Path("output").read_text() == "verdict=failed\n"  # of the first call alone


def test_outside_github_actions_annotations_are_refused(
    edgekd: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    status, out, err = edgekd("gate", run, "--github")
    assert (status, out) == (4, "")
    assert "leave --github out" in err


def test_a_place_that_cannot_be_written_is_said(edgekd: Command, run: Path) -> None:
    status, out, err = edgekd("gate", run, "--sarif", run)
    assert (status, out) == (4, "")
    assert "'run' cannot be written" in err


def test_judging_by_numbers_loads_neither_torch_nor_onnx(run: Path) -> None:
    from tests.cli.test_main import modules_after

    statement = (
        "from pathlib import Path\nimport typer\n"
        "from edgekd.cli.commands import gate\n"
        f"try: gate.command(Path({str(run)!r}), junit=Path('g.xml'), sarif=Path('g.sarif'))\n"
        "except typer.Exit as end: assert end.exit_code == 1"
    )
    assert not modules_after(statement) & {"torch", "onnx", "onnxruntime", "scipy", "sklearn"}
