"""The stage ladder: what each step did to accuracy, work and size."""

from collections.abc import Sequence

from edgekd.core.records import Ladder, Rung
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, facts, looks, words, worth
from edgekd.report.blocks import Block, Cell, Column, Figure, Note, Section, Table, Tone
from edgekd.report.svg import Chart

_LEAST_RANGE_PP = 0.5
_ROOM = 2.0  # drops beyond so many times those of the files that ship are drawn as arrows
_COLUMNS = (
    Column("Stage"),
    Column("Top-1 (%)", numeric=True),
    Column("Drop vs teacher (pp)", numeric=True),
    Column("Change to the stage above", numeric=True),
    Column("MACs", numeric=True),
    Column("Size", numeric=True),
)


def section(run: Run) -> Section:
    """Return the ladder's section."""
    if run.ladder is None or not run.ladder.rungs:
        note = Note("The steps of this run were not evaluated on the test images yet.", "quiet")
        return Section("ladder", "Stage ladder", (note,))
    found: list[Block] = [Note(_lead(run))]
    blame = facts.blame(run)
    if blame:
        found.append(Note(blame, "inconclusive"))
    recovery = worth.recovery_sentence(run)
    if recovery:
        found.append(Note(recovery))
    found.append(_accuracy_figure(run, run.ladder.rungs))
    drops = [rung for rung in run.ladder.rungs if rung.drop_pp is not None]
    if drops:
        found.append(_drop_figure(run, drops))
    found.append(_table(run.ladder))
    return Section("ladder", "Stage ladder", tuple(found))


def _lead(run: Run) -> str:
    evaluated = facts.evaluation(run)
    where = (
        f"the same {evaluated.images:,} {evaluated.split} images"
        if evaluated
        else ("the same images")
    )
    return (
        f"Every step was evaluated on {where}. Drops are paired image by image, which makes their "
        "intervals narrower than those of the accuracies."
    )


def _accuracy_figure(run: Run, rungs: Sequence[Rung]) -> Figure:
    series = looks.series(run)
    marks = [
        charts.Mark(rung.name, rung.accuracy, series.get(rung.name, looks.STEP)) for rung in rungs
    ]
    sure = words.confidence([rung.accuracy for rung in rungs])
    title = "Top-1 accuracy after every step"
    told = "; ".join(f"{rung.name} {words.estimate(rung.accuracy, 2)} %" for rung in rungs)
    chart = Chart("ladder-top1", title, told)

    def draw(width: int) -> str:
        return charts.svg_intervals(chart, marks, "top-1 accuracy (%)", width=width, joined=True)

    return blocks.both_widths(title, f"Lines are {sure} confidence intervals (Wilson).", draw)


def _drop_figure(run: Run, rungs: Sequence[Rung]) -> Figure:
    series, (limit, judged) = looks.series(run), _margin(run)
    marks = [
        charts.Mark(
            rung.name, rung.drop_pp, series.get(rung.name, looks.STEP),
            limit=limit if rung.name in judged else None,
        )
        for rung in rungs
        if rung.drop_pp is not None
    ]  # fmt: skip
    high = _highest(run, marks)
    title = "Drop against the teacher, near the end of the ladder"
    told = "; ".join(f"{mark.name} {words.estimate(mark.interval, 2)} pp" for mark in marks)
    chart = Chart("ladder-drop", title, told)
    caption = (
        f"Lines are {words.confidence([m.interval for m in marks])} intervals, paired (Tango)."
    )
    caption += " An arrow lies beyond the axis." if _is_beyond(marks, high) else ""
    caption += "" if limit is None else f" The dashed strokes are the gate's margin, {limit:g} pp."

    def draw(width: int) -> str:
        label = "top-1 drop (pp), right is worse"
        return charts.svg_intervals(chart, marks, label, width=width, high=high)

    return blocks.both_widths(title, caption, draw)


def _margin(run: Run) -> tuple[float | None, set[str]]:
    """Return the gate's margin, and for which files, if all its accuracy rules have the same."""
    findings = [f for f in (run.verdict.findings if run.verdict else ()) if f.unit == "pp"]
    limits = {finding.limit for finding in findings}
    if len(limits) != 1:
        return None, set()
    return limits.pop(), {run.shipped(finding.artifact) for finding in findings}


def _highest(run: Run, marks: Sequence[charts.Mark]) -> float | None:
    """Return where to end the axis, so that what ships can be read beside a collapse."""
    files = {*run.artifacts, *map(run.shipped, run.artifacts)}
    shipped = [mark for mark in marks if mark.name in files] or list(marks[-1:])
    most = max(mark.interval.high for mark in shipped)
    most = _ROOM * max(most, _LEAST_RANGE_PP, *(mark.limit or 0.0 for mark in shipped))
    return most if max(mark.interval.high for mark in marks) > most else None


def _is_beyond(marks: Sequence[charts.Mark], high: float | None) -> bool:
    return high is not None and any(mark.interval.value > high for mark in marks)


def _table(ladder: Ladder) -> Table:
    rows = []
    above: Rung | None = None
    for rung in ladder.rungs:
        tone: Tone = "failed" if rung.name == ladder.blamed else ""
        rows.append(_row(Cell(rung.name, tone=tone), rung, _change(rung, above)))
        above = rung
    sure = words.confidence([rung.accuracy for rung in ladder.rungs])
    caption = f"The ladder in numbers; intervals at {sure}."
    if ladder.control:
        rung = ladder.control.rung
        rows.append(_row(Cell(rung.name), rung, blocks.number("", None)))
        caption += f" '{rung.name}' stands beside it: the same student, by the labels alone."
    return Table(caption, _COLUMNS, tuple(rows))


def _row(name: Cell, rung: Rung, change: Cell) -> tuple[Cell, ...]:
    drop = rung.drop_pp
    return (
        name,
        blocks.number(words.estimate(rung.accuracy, 2), rung.accuracy.value),
        blocks.number(
            "" if drop is None else words.estimate(drop, 2), drop.value if drop else None
        ),
        change,
        blocks.number(words.macs(rung.macs), rung.macs),
        blocks.number(words.size(rung.bytes), rung.bytes),
    )


def _change(rung: Rung, above: Rung | None) -> Cell:
    if above is None:
        return blocks.number("", None)
    change = rung.accuracy.value - above.accuracy.value
    text = f"{words.signed(change, 2)} pp"
    if rung.step_p_value is not None:
        text += f", {facts.p_value_text(rung.step_p_value)}"
    return blocks.number(text, change)
