"""The gate's rules: what was measured, how sure that is, and the limit."""

from collections.abc import Sequence

from edgekd.core.findings import message
from edgekd.core.records import Finding
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, facts, looks, words
from edgekd.report.blocks import Block, Cell, Column, Note, Section, Table, Tone
from edgekd.report.svg import Chart

_COLUMNS = (
    Column("Rule"),
    Column("Artifact"),
    Column("Measured", numeric=True),
    Column("Interval", numeric=True),
    Column("Confidence", numeric=True),
    Column("Limit", numeric=True),
    Column("State"),
)
_TITLES = {"pp": "Drops of accuracy", "ratio": "Ratios"}
_SIGNS = {"at most": "≤", "at least": "≥"}
_SLUGS = {"%": "percent"}  # for anchors
_FROM_ZERO = {"ratio", "ms", "MiB", "per s", "sd", "findings"}  # what is never below


def section(run: Run) -> Section:
    """Return the rules' section."""
    if run.verdict is None:
        note = Note("The gate has not judged this run yet, so there is no verdict.", "quiet")
        return Section("rules", "Rules", (note,))
    findings = facts.sort_findings(run.verdict.findings)
    found: list[Block] = [_table(findings)]
    for unit in dict.fromkeys(finding.unit for finding in findings):
        chosen = [finding for finding in findings if finding.unit == unit and finding.measured]
        if chosen:
            found.append(_figure(run, unit, chosen))
    return Section("rules", "Rules", tuple(found))


def _table(findings: Sequence[Finding]) -> Table:
    rows = tuple(_row(finding) for finding in findings)
    caption = "Each rule passes only if the whole interval lies on the right side of its limit."
    return Table(caption, _COLUMNS, rows)


def _row(finding: Finding) -> tuple[Cell, ...]:
    unit, measured = words.unit(finding.unit), finding.measured
    name = words.rule(finding.rule)
    name += " (informative)" if finding.informative else ""
    tone: Tone = "quiet" if finding.informative else finding.state
    state = Cell(words.STATE_WORDS[finding.state].capitalize(), tone=tone)
    limit = blocks.number(f"{_SIGNS[finding.bound]} {finding.limit:g}{unit}", finding.limit)
    if measured is None:
        unknown = [blocks.number("not known", None)] * 3
        return (Cell(name), Cell(finding.artifact), *unknown, limit, state)
    exact, digits = measured.low == measured.high, words.digits_beside(measured, finding.limit, 2)
    return (
        Cell(name),
        Cell(finding.artifact),
        blocks.number(f"{words.fixed(measured.value, digits)}{unit}", measured.value),
        blocks.number("exact" if exact else words.bounds(measured, digits), measured.high),
        blocks.number("" if exact else f"{100 * measured.confidence:g} %", measured.confidence),
        limit,
        state,
    )


def _figure(run: Run, unit: str, findings: Sequence[Finding]) -> blocks.Figure:
    series = looks.series(run)
    single = len({finding.rule for finding in findings}) == 1
    marks = [
        charts.Mark(
            name=finding.artifact if single else f"{finding.artifact}: {words.rule(finding.rule)}",
            interval=finding.measured,
            series=series.get(finding.artifact, looks.STEP),
            digits=words.digits_beside(finding.measured, finding.limit, 2),
            limit=finding.limit,
        )
        for finding in findings
        if finding.measured is not None
    ]
    sentences = "; ".join(map(message, findings))
    title = f"{_TITLES.get(unit, f'What is measured in {unit}')} against their limits"
    chart = Chart("rules-" + _SLUGS.get(unit, unit.lower().replace(" ", "-")), title, sentences)
    caption = (
        "The point is the estimate, the line its confidence interval, the dashed stroke the limit."
    )

    def draw(width: int) -> str:
        low = 0.0 if unit in _FROM_ZERO else None
        label = f"measured ({unit}); limits dashed"
        return charts.svg_intervals(chart, marks, label, width=width, low=low)

    return blocks.both_widths(title, caption, draw)
