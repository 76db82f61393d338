"""A run's tables for the terminal; plain text where there are no colours."""

from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from edgekd.core import findings
from edgekd.core.records import State
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.report import facts, over_time, words, worth

_STYLES: dict[State, str] = {
    "passed": "bold green",
    "failed": "bold red",
    "inconclusive": "bold yellow",
}
_STATE_WIDTH = 13
_NAME_WIDTH = 12  # of the first column at least; where there is less, each row becomes a list
_MILLION, _MIB = 1e6, 2**20


def render(run: Run, console: Console) -> None:
    """Print a run: ladder, latency, what speaks against them, and the verdict last."""
    for part in (ladder_table(run), latency_table(run), energy_table(run), _doubts(run)):
        if part is not None:
            console.print(part)
            console.print()
    for line in verdict_lines(run):
        console.print(line)


def ladder_table(run: Run) -> RenderableType:
    """Return the stage ladder, or a sentence that there is none."""
    if run.ladder is None or not run.ladder.rungs:
        return Text("no stage ladder: the run's steps were not evaluated yet")
    rungs = list(run.ladder.rungs)
    if run.ladder.control:
        rungs.append(run.ladder.control.rung)
    sure = words.confidence([rung.accuracy for rung in rungs])
    columns = ("stage", f"top-1 % [{sure}]", f"drop pp [{sure}]", "M MACs", "MiB")
    table = _Rows("Stage ladder" + _images(run), columns)
    macs_digits = min(2, words.digits_for(rung.macs / _MILLION for rung in rungs))
    size_digits = min(3, words.digits_for(rung.bytes / _MIB for rung in rungs))
    for rung in rungs:
        table.add(
            Text(rung.name, style="bold" if rung.name == run.ladder.blamed else ""),
            Text(words.estimate(rung.accuracy, 2)),
            Text("-" if rung.drop_pp is None else words.estimate(rung.drop_pp, 2)),
            Text(words.fixed(rung.macs / _MILLION, macs_digits)),
            Text(words.fixed(rung.bytes / _MIB, size_digits)),
        )
    blame = facts.blame(run)
    said = (worth.recovery_sentence(run), worth.gain_sentence(run), worth.time_sentence(run))
    lines = [Text(sentence) for sentence in said if sentence is not None]
    return Group(table, *([Text(blame, style="yellow")] if blame else []), *lines)


def latency_table(run: Run) -> RenderableType:
    """Return the latencies and what they mean, or a sentence that there are none."""
    if run.measurement is None or not run.measurement.timings:
        return Text("no latency: the run's artifacts were not measured yet")
    measured = facts.latencies(run)
    first = run.measurement
    sure = words.confidence([item.timing.p50_ms for item in measured])
    whose = "x teacher" if measured[0].timing.subject == REFERENCE else "x first"
    table = _Rows(
        f"Latency on {first.device}, batch {first.batch}, threads {first.threads}, "
        f"{first.timings[0].runs} runs each",
        ("artifact", f"p50 ms [{sure}]", "p90", "p99", whose, "MACs"),
    )
    p50s = [item.timing.p50_ms for item in measured]
    digits = words.digits_apart(p50s, words.digits_for(p50.value for p50 in p50s))
    for item in measured:
        timing = item.timing
        ratio = timing.ratio_to_first
        table.add(
            Text(timing.subject),
            Text(words.estimate(timing.p50_ms, digits)),
            Text(words.three_digits(timing.p90_ms.value)),
            Text(words.three_digits(timing.p99_ms.value) if timing.p99_ms else "-"),
            Text("-" if ratio is None else words.estimate(ratio, 2)),
            Text("-" if item.macs_ratio is None else words.share(item.macs_ratio)),
        )
    lines = facts.speed_sentences(run)
    meanwhile = "" if first.series is None else over_time.line(first.series)
    if meanwhile:
        lines.append(f"Meanwhile {meanwhile}.")
    return Group(table, *(Text(line) for line in lines))


def energy_table(run: Run) -> RenderableType | None:
    """Return the energies, or why there are none; None: they were not asked for."""
    energy = run.measurement.energy if run.measurement else None
    if run.measurement is None or energy is None:
        return None
    if energy.missing is not None:
        return Text(f"no energy: {energy.missing}")
    used = [(t.subject, t.energy) for t in run.measurement.timings if t.energy is not None]
    intervals = [one.per_image_mj for _, one in used]
    digits = words.digits_apart(intervals, words.digits_for(one.value for one in intervals))
    sure = words.confidence(intervals)
    table = _Rows(
        f"Energy of the {energy.scope} by {energy.source}, above idle",
        ("artifact", f"mJ an image [{sure}]", "x first", "W with idle"),
    )
    for name, one in used:
        ratio = one.ratio_to_first
        table.add(
            Text(name),
            Text(words.estimate(one.per_image_mj, digits)),
            Text("-" if ratio is None else words.estimate(ratio, 2)),
            Text(words.three_digits(one.power_mw / 1000)),
        )
    return table


def verdict_lines(run: Run) -> list[RenderableType]:
    """Return one line for each finding, and the verdict as the last line."""
    found = facts.sort_findings(run.verdict.findings) if run.verdict else []
    lines: list[RenderableType] = []
    for finding in found:
        # Padded by itself, so that a message that wraps does not run under its state.
        line = Table.grid(padding=(0, 0))
        line.add_column(width=_STATE_WIDTH, no_wrap=True)
        line.add_column(overflow="fold")
        aside = " (informative)" if finding.informative else ""
        line.add_row(
            Text(words.STATE_WORDS[finding.state], style=_STYLES[finding.state]),
            Text(findings.message(finding) + aside),
        )
        lines.append(line)
    last = Text(facts.verdict_line(run))
    if run.verdict is not None:
        last.stylize(_STYLES[run.verdict.state])
    return [*lines, last]


@dataclass
class _Rows:
    """Rows as a table; where that is wider than the terminal, as a list for each row."""

    title: str
    columns: tuple[str, ...]  # the first one names the row
    rows: list[tuple[Text, ...]] = field(default_factory=list)

    def add(self, *cells: Text) -> None:
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._table() if self._least_width() <= options.max_width else self._lists()

    def _least_width(self) -> int:
        widths = [
            max(len(name), *(row[place].cell_len for row in self.rows))
            for place, name in enumerate(self.columns)
        ]
        return min(widths[0], _NAME_WIDTH) + sum(widths[1:]) + 2 * len(widths[1:])

    def _table(self) -> Table:
        table = Table(
            title=Text(self.title, style="bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            header_style="",
        )
        table.add_column(self.columns[0], overflow="fold")
        for name in self.columns[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table

    def _lists(self) -> Group:
        lines = [Text(self.title, style="bold")]
        for name, *cells in self.rows:
            lines.append(name)
            lines += [
                Text.assemble(f"  {column}: ", cell)
                for column, cell in zip(self.columns[1:], cells, strict=True)
            ]
        return Group(*lines)


def _images(run: Run) -> str:
    found = facts.evaluation(run)
    return f" on {found.images} {found.split} images" if found else ""


def _doubts(run: Run) -> RenderableType | None:
    found = facts.doubts(run)
    return Group(*(Text(f"warning: {doubt}", style="yellow") for doubt in found)) if found else None
