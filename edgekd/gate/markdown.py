"""A verdict as a Markdown table, for the comment on a change that a CI job writes."""

from edgekd.core.records import Finding, Interval, Verdict

_RULES = {
    "top1_drop_pp": "top-1 drop",
    "latency_ratio": "latency, student / teacher",
    "size_ratio": "size, student / teacher",
}
_UNITS = {"pp": " pp", "ratio": ""}
_DIGITS = {"pp": 2, "ratio": 3}


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
    unit = _UNITS[finding.unit]
    state = finding.state + (" (informative)" if finding.informative else "")
    digits = _DIGITS[finding.unit]
    measured = _shown(finding.measured, unit, digits) if finding.measured else "not measurable"
    cells = [
        state if finding.state == "passed" else f"**{state}**",
        _RULES.get(finding.rule, finding.rule),
        finding.artifact,
        measured,
        f"{finding.limit:g}{unit}",
    ]
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _shown(interval: Interval, unit: str, digits: int) -> str:
    value = f"{interval.value:.{digits}f}{unit}"
    if interval.low == interval.high:
        return value
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _escaped(text: str) -> str:
    """A target may have any file name, and a bar would end the cell."""
    return text.replace("|", "\\|").replace("\n", " ")
