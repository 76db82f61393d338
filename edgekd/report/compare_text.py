"""A comparison of runs as tables for the terminal and as Markdown."""

import itertools
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekd.core.records import Interval
from edgekd.core.run_folder import REFERENCE
from edgekd.report import words
from edgekd.report.compare import Comparison, Entry

_MIB = 2**20
_NONE = "-"


def render(found: Comparison, console: Console) -> None:
    """Print accuracies, costs, differences between the recipes, and what speaks against them."""
    console.print(_accuracy(found.entries))
    console.print()
    console.print(_cost(found.entries))
    console.print()
    if found.differences:
        console.print(_recipes(found))
        console.print()
    for doubt in found.doubts:
        console.print(Text(f"warning: {doubt}", style="yellow"))


def markdown(found: Comparison) -> str:
    """Return a table with a row for each file, and one of the recipes; ends in a newline."""
    heads = ["run", "file", "top-1 %", "drop pp", f"against {found.runs[0].name}, pp", "p50 ms"]
    heads += ["x teacher", "mJ", "MACs", "MiB", "verdict"]
    lines = [_line(heads), _line(["---", "---", *["---:"] * 8, "---"])]
    for entry in found.entries:
        cells = [entry.run, entry.artifact, *_accuracies(entry), *_costs(entry)]
        lines.append(_line([cell.replace("|", "\\|") for cell in cells]))
    if found.differences:
        lines += ["", _line(["recipe", *(run.name for run in found.runs)])]
        lines.append(_line(["---"] * (len(found.runs) + 1)))
        lines += [
            _line([text.replace("|", "\\|") for text in (one.key, *one.values)])
            for one in found.differences
        ]
    if found.doubts:
        lines += ["", *(f"- {doubt}" for doubt in found.doubts)]
    return "\n".join([*lines, ""])


def _accuracy(entries: Sequence[Entry]) -> Table:
    sure = words.confidence([entry.top1_percent for entry in entries])
    table = _table("Accuracy", "top-1 %", "drop pp", "vs first run pp")
    table.caption = f"Intervals at {sure}; drops and gains are paired by image."
    _fill(table, entries, _accuracies)
    return table


def _cost(entries: Sequence[Entry]) -> Table:
    table = _table("Cost", "p50 ms", "x teacher", "mJ", "MACs", "MiB", "verdict")
    _fill(table, entries, _costs)
    return table


def _fill(table: Table, entries: Sequence[Entry], cells: Callable[[Entry], Sequence[str]]) -> None:
    """Add a row for each file below the name of its run."""
    for run, mine in itertools.groupby(entries, lambda entry: entry.run):
        table.add_row(Text(run, style="bold"))
        for entry in mine:
            name = entry.artifact.replace(REFERENCE, "teacher")
            table.add_row(Text(f"  {name}"), *map(Text, cells(entry)))


def _recipes(found: Comparison) -> Table:
    table = _table("Recipes", *(run.name for run in found.runs), first="key")
    for one in found.differences:
        table.add_row(Text(one.key), *(Text(value or _NONE) for value in one.values))
    return table


def _accuracies(entry: Entry) -> list[str]:
    return [_interval(one) for one in (entry.top1_percent, entry.drop_pp, entry.gain_pp)]


def _costs(entry: Entry) -> list[str]:
    p50, ratio = entry.p50_ms, entry.latency_ratio
    return [
        _NONE if p50 is None else words.three_digits(p50.value),
        _interval(ratio),
        _NONE if entry.energy_mj is None else words.three_digits(entry.energy_mj.value),
        _NONE if entry.macs is None else words.macs(entry.macs),
        words.three_digits(entry.bytes / _MIB),
        entry.state or _NONE,
    ]


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return _NONE
    return words.estimate(interval, words.digits_apart([interval], 2))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(title: str, *numbers: str, first: str = "run, file") -> Table:
    table = Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="",
    )
    table.add_column(first, overflow="fold")
    for name in numbers:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table
