"""A verdict for GitHub Actions: annotations, the step's summary, and its output."""

import os
from pathlib import Path

from edgekd.core.characters import one_line
from edgekd.core.errors import EnvironmentMissingError
from edgekd.core.records import Finding, Verdict
from edgekd.gate.markdown import markdown
from edgekd.gate.place import Place


def places() -> tuple[Path, Path]:
    """Return the files for the step's summary and its outputs, whose names GitHub hands over.

    Raises:
        EnvironmentMissingError: this is no step of GitHub Actions.
    """
    found = [os.environ.get(name) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")]
    if not all(found):
        raise EnvironmentMissingError(
            "$GITHUB_STEP_SUMMARY and $GITHUB_OUTPUT are not both set: leave --github out, which "
            "is for steps of GitHub Actions"
        )
    summary, output = (Path(name) for name in found if name)
    return summary, output


def tell(verdict: Verdict) -> None:
    """Append the table to the step's summary, and ``verdict=...`` to its outputs.

    Raises:
        EnvironmentMissingError: they cannot be written.
    """
    summary, output = places()
    for path, text in ((summary, markdown(verdict)), (output, f"verdict={verdict.state}\n")):
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise EnvironmentMissingError(f"'{path}' cannot be written: {error}") from error


def annotations(verdict: Verdict, place: Place) -> list[str]:
    """Return a workflow command for each finding that is not passed, what decides first.

    GitHub shows ten errors, ten warnings and ten notices of a step.

    Source: docs.github.com, Workflow commands; escapes: actions/toolkit, ``core/src/command.ts``.
    """
    found = [finding for finding in verdict.findings if finding.state != "passed"]
    return [_annotation(finding, place) for finding in sorted(found, key=_rank)]


def error(message: str) -> str:
    """Return the workflow command for what kept the gate from judging."""
    return f"::error title=edgekd gate::{_data(message)}"


def _annotation(finding: Finding, place: Place) -> str:
    kind = ("error", "warning", "notice")[_rank(finding)]
    properties = {
        "title": f"edgekd gate: {finding.rule} {finding.artifact} {finding.state}",
        "file": place.file,
        "line": str(place.line(finding.rule)),
    }
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{kind} {given}::{_data(finding.message)}"


def _rank(finding: Finding) -> int:
    if finding.informative:
        return 2
    return 0 if finding.state == "failed" else 1


def _data(text: str) -> str:
    return one_line(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
