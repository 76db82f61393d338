"""A run as one HTML file: opens from disk, loads nothing, prints well."""

from dataclasses import dataclass
from pathlib import Path

from edgekd import __version__
from edgekd.core import files
from edgekd.core.findings import message
from edgekd.core.records import Interval, State
from edgekd.core.run_folder import Run
from edgekd.report import facts, looks, words
from edgekd.report import landscape as landscape_page
from edgekd.report import sensitivity as sensitivity_page
from edgekd.report.blocks import Section
from edgekd.report.pages import template
from edgekd.report.sections import (
    classes,
    control,
    energy,
    ladder,
    latency,
    layers,
    provenance,
    rules,
    size,
    tradeoff,
    training,
)

_NOT_JUDGED = "Not judged"


@dataclass(frozen=True)
class Reason:
    """What stands in the way of a pass."""

    text: str
    doubted: bool  # for what is told against the measurement


@dataclass(frozen=True)
class Figure:
    """One number of a student's card."""

    name: str
    value: str
    aside: str


@dataclass(frozen=True)
class Card:
    """One of the student's artifacts at a glance."""

    name: str
    series: int
    state: State | None
    word: str
    figures: tuple[Figure, ...]


def html(run: Run) -> str:
    """Return the page."""
    state = run.verdict.state if run.verdict else None
    sections: list[Section | None] = [
        rules.section(run),
        ladder.section(run),
        tradeoff.section(run),
        latency.section(run),
        energy.section(run),
        size.section(run),
        classes.section(run),
        layers.section(run),
        sensitivity_page.section(run.sensitivity) if run.sensitivity else None,
        training.section(run),
        control.section(run),
        landscape_page.section(run.landscape) if run.landscape else None,
        provenance.section(run),
    ]
    title = provenance.description(run) or f"Run {run.folder.name}"
    return template("page").render(
        title=title,
        about=_about(run),
        state=state or "none",
        word=words.STATE_WORDS[state].capitalize() if state else _NOT_JUDGED,
        summary=_summary(run),
        reasons=_reasons(run),
        cards=_cards(run),
        confidence=_confidence(run),
        doubts=facts.doubts(run),
        sections=[section for section in sections if section is not None],
        version=__version__,
    )


def write(run: Run, path: Path) -> None:
    """Write the page, whole or not at all."""
    files.write_text(path, html(run))


def _about(run: Run) -> list[str]:
    """Return what stands under the title."""
    found = []
    teacher = run.checkpoints.get("teacher")
    if teacher:
        found.append(f"Teacher {teacher.model}")
    evaluated = facts.evaluation(run)
    if evaluated:
        found.append(f"{evaluated.images:,} {evaluated.split} images")
    if run.measurement:
        found.append(f"measured on {run.measurement.device}")
    record = run.verdict or run.ladder or run.measurement or teacher
    if record:
        found.append(words.moment(record.provenance.made_at))
    return found


def _summary(run: Run) -> str:
    """Say in a sentence what the verdict rests on."""
    if run.verdict is None:
        return "This run has no verdict yet; what is known so far follows."
    deciding = [finding for finding in run.verdict.findings if not finding.informative]
    counts = {state: sum(f.state == state for f in deciding) for state in words.STATE_WORDS}
    if counts["passed"] == len(deciding):
        many = f"All {len(deciding)} findings that decide lie within their limits"
        one = "The one finding that decides lies within its limit"
        return f"{many if len(deciding) > 1 else one}, whole intervals included."
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    return f"Of {words.count(len(deciding), 'finding')}, {words.listing(parts)}."


def _reasons(run: Run) -> list[Reason]:
    findings = run.verdict.findings if run.verdict else ()
    return [
        Reason(message(finding), bool(finding.doubts))
        for finding in findings
        if finding.state != "passed" and not finding.informative
    ]


def _cards(run: Run) -> list[Card]:
    series = looks.series(run)
    return [
        Card(
            name=student.name,
            series=series[student.name],
            state=student.state,
            word=words.STATE_WORDS[student.state].capitalize() if student.state else "",
            figures=tuple(_figures(student)),
        )
        for student in facts.students(run)
    ]


def _confidence(run: Run) -> str:
    """Return what the intervals of all cards have in common."""
    latencies = [student.latency for student in facts.students(run) if student.latency]
    used = [latency.energy.ratio_to_first for latency in latencies if latency.energy]
    drops = [student.drop_pp for student in facts.students(run)]
    return words.confidence([*drops, *used, *(latency.ratio_to_first for latency in latencies)])


def _figures(student: facts.Student) -> list[Figure]:
    found = []
    if student.accuracy:
        found.append(Figure("top-1", f"{words.fixed(student.accuracy.value, 2)} %", ""))
    if student.drop_pp:
        found.append(_interval("top-1 drop", student.drop_pp, " pp"))
    if student.latency and student.latency.ratio_to_first:
        found.append(_interval("latency", student.latency.ratio_to_first, "x"))
    if student.latency and student.latency.energy and student.latency.energy.ratio_to_first:
        found.append(_interval("energy", student.latency.energy.ratio_to_first, "x"))
    if student.size_ratio is not None:
        found.append(Figure("size", f"{words.fixed(student.size_ratio, 2)}x", "exact"))
    if student.macs_ratio is not None:
        found.append(Figure("MACs", words.share(student.macs_ratio), "exact"))
    return found


def _interval(name: str, interval: Interval, unit: str) -> Figure:
    digits = words.digits_apart([interval], least=2)
    value = words.fixed(interval.value, digits)
    return Figure(name, value + unit, words.bounds(interval, digits))
