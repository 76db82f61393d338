import re
from pathlib import Path

import pytest
from hypothesis import given

from edgekd.core.errors import EnvironmentMissingError
from edgekd.gate import github
from edgekd.gate.place import Place
from tests.gate.verdicts import FAILED, TEXTS, finding, verdict

PLACE = Place("ci/a,b.toml", ("[gate]", "top1_drop_pp = { margin = 2 }"))


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does: kind, properties, message."""
    found = re.fullmatch(r"::(\w+) ((?:\w+=[^,:]*,)*\w+=[^,:]*)::(.*)", line)
    assert found, line
    properties = dict(pair.split("=", 1) for pair in found[2].split(","))
    for name, value in properties.items():
        properties[name] = value.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
    return found[1], properties, found[3].replace("%25", "%")


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two files as the runner hands them over, with what earlier steps wrote."""
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    summary.write_text("# Build\n\n")
    output.write_text("wheel=x\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    return summary, output


def test_an_annotation_stands_at_the_line_of_the_rule() -> None:
    (line,) = github.annotations(verdict(finding()), PLACE)
    assert line.startswith("::error title=edgekd gate%3A top1_drop_pp onnx-int8 failed,")
    assert "file=ci/a%2Cb.toml,line=2::" in line
    assert parsed(line)[2] == FAILED


def test_what_decides_comes_first_and_what_passed_not_at_all() -> None:
    judged = verdict(
        finding("passed"),
        finding(informative=True),
        finding("inconclusive"),
        finding("failed"),
    )
    kinds = [parsed(line)[0] for line in github.annotations(judged, PLACE)]
    assert kinds == ["error", "warning", "notice"]


def test_summary_and_output_are_appended_to(step: tuple[Path, Path]) -> None:
    github.tell(verdict(finding()))
    summary, output = (path.read_text() for path in step)
    assert summary.startswith("# Build\n\n### edgekd gate: failed\n")
    assert output == "wheel=x\nverdict=failed\n"


def test_outside_github_actions_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with pytest.raises(EnvironmentMissingError, match="leave --github out"):
        github.places()


def test_a_summary_that_cannot_be_written_is_said(
    step: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(step[0].parent))
    with pytest.raises(EnvironmentMissingError, match="cannot be written"):
        github.tell(verdict(finding()))


@given(message=TEXTS, artifact=TEXTS)
def test_no_text_ends_a_command_or_starts_another(message: str, artifact: str) -> None:
    (line,) = github.annotations(verdict(finding(message=message, artifact=artifact)), PLACE)
    assert len(line.encode().splitlines()) == 1
    kind, properties, _ = parsed(line)
    assert kind == "error"
    assert list(properties) == ["title", "file", "line"]


@given(message=TEXTS)
def test_no_refusal_starts_another_command(message: str) -> None:
    assert len(github.error(message).encode().splitlines()) == 1
