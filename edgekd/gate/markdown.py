"""A verdict as a Markdown table, for the comment on a change that a CI job writes."""

import re

from edgekd.core.characters import one_line
from edgekd.core.findings import told_once
from edgekd.core.records import Finding, Interval, Unit, Verdict
from edgekd.gate.text import LOOKS

# What stands after a number; all others: a blank and the unit.
_UNITS: dict[Unit, str] = {"ratio": "x", "per s": " images/s", "findings": ""}


def markdown(verdict: Verdict) -> str:
    """Return a headline and a table with a row for each finding, ending in a newline."""
    lines = [
        f"### edgekd gate: {verdict.state}",
        "",
        "| verdict | rule | artifact | measured | limit |",
        "| --- | --- | --- | ---: | ---: |",
        *(_row(finding) for finding in verdict.findings),
        "",
    ]
    doubtful = [finding for finding in verdict.findings if finding.state != "passed"]
    messages, doubts = told_once(doubtful)
    lines += [f"- {_escaped(message)}" for message in messages]
    lines += [f"- in doubt: {_escaped(doubt)}" for doubt in doubts]
    return "\n".join([*lines, ""] if doubtful else lines)


def _row(finding: Finding) -> str:
    look, unit = LOOKS[finding.rule], _UNITS.get(finding.unit, f" {finding.unit}")
    state = finding.state + (" (informative)" if finding.informative else "")
    measured = (
        _shown(finding.measured, _digits(finding), unit) if finding.measured else "not measurable"
    )
    cells = [
        state if finding.state == "passed" else f"**{state}**",
        finding.rule,
        _escaped(finding.artifact),
        measured,
        f"{'>= ' if look.at_least else ''}{finding.limit:.10g}{unit}",
    ]
    return "| " + " | ".join(cells) + " |"


def _digits(finding: Finding) -> int:
    return 0 if finding.unit == "findings" else LOOKS[finding.rule].digits + 1


def _shown(interval: Interval, digits: int, unit: str) -> str:
    value = f"{interval.value:.{digits}f}{unit}"
    if interval.low == interval.high:
        return value
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _escaped(text: str) -> str:
    """Keep a name or a message from ending a cell, or from becoming HTML or Markdown."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
