"""A verdict as a Markdown table, for the comment on a change that a CI job writes."""

import re

from edgekd.core.records import Finding, Interval, Verdict
from edgekd.gate.characters import one_line
from edgekd.gate.text import LOOKS, Look


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
    lines += [f"- {_escaped(finding.message)}" for finding in doubtful]
    return "\n".join([*lines, ""] if doubtful else lines)


def _row(finding: Finding) -> str:
    look = LOOKS[finding.rule]
    state = finding.state + (" (informative)" if finding.informative else "")
    measured = _shown(finding.measured, look) if finding.measured else "not measurable"
    cells = [
        state if finding.state == "passed" else f"**{state}**",
        finding.rule,
        _escaped(finding.artifact),
        measured,
        f"{'>= ' if look.at_least else ''}{finding.limit:g}{look.after_limit}",
    ]
    return "| " + " | ".join(cells) + " |"


def _shown(interval: Interval, look: Look) -> str:
    digits = look.digits + 1
    value = f"{interval.value:.{digits}f}{look.after_limit}"
    if interval.low == interval.high:
        return value
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _escaped(text: str) -> str:
    """Keep a name or a message from ending a cell, or from becoming HTML or Markdown."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", text)
