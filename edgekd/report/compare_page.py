"""A comparison of runs as one HTML file, with the charts of a single run's page."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgekd import __version__
from edgekd.core import files
from edgekd.core.records import Interval, State
from edgekd.core.run_folder import REFERENCE, Run, is_teachers
from edgekd.report import charts, looks, plots, words, worth
from edgekd.report.blocks import (
    Block,
    Cell,
    Column,
    Note,
    Section,
    Table,
    both_widths,
    number,
)
from edgekd.report.compare import Comparison, Entry
from edgekd.report.pages import template
from edgekd.report.svg import Chart

_COLOURS = 5
_MIB = 2**20
_COLUMNS = (
    Column("Run and file"),
    Column("Rules"),
    Column("Top-1 (%)", numeric=True),
    Column("Drop vs its teacher (pp)", numeric=True),
    Column("Against the first run (pp)", numeric=True),
    Column("p50 (ms)", numeric=True),
    Column("Ratio to its teacher", numeric=True),
    Column("Energy (mJ an image)", numeric=True),
    Column("MACs", numeric=True),
    Column("Size", numeric=True),
)


def html(found: Comparison, runs: Sequence[Run]) -> str:
    """Return the page.

    Args:
        found: the comparison.
        runs: that it is of, in the same order; the curves of training come from them.
    """
    names = [run.name for run in found.runs]
    sections = [
        Section("numbers", "Numbers", (_table(found),)),
        _tradeoff(found),
        _accuracy(found),
        _cost(found),
        _training(names, runs),
        _recipes(found),
    ]
    return template("compare").render(
        title=f"Runs {words.listing(names)} side by side",
        about=[
            words.count(len(runs), "run"),
            f"the others are held against {names[0]}",
        ],
        runs=[(run.name, run.state or "none", _word(run.state)) for run in found.runs],
        doubts=found.doubts,
        sections=[section for section in sections if section.blocks],
        version=__version__,
    )


def write(found: Comparison, runs: Sequence[Run], path: Path) -> None:
    """Write the page, whole or not at all."""
    files.write_text(path, html(found, runs))


def _table(found: Comparison) -> Table:
    caption = (
        f"Every file of every run; intervals at "
        f"{words.confidence([one.top1_percent for one in found.entries])}, drops and gains "
        "paired by image."
    )
    return Table(caption, _COLUMNS, tuple(_row(entry) for entry in found.entries))


def _row(entry: Entry) -> tuple[Cell, ...]:
    return (
        Cell(_name(entry)),
        Cell(_word(entry.state) if entry.state else "", tone=entry.state or ""),
        _cell(entry.top1_percent),
        _cell(entry.drop_pp),
        _cell(entry.gain_pp),
        number("" if entry.p50_ms is None else words.three_digits(entry.p50_ms.value),
               None if entry.p50_ms is None else entry.p50_ms.value),
        _cell(entry.latency_ratio),
        _cell(entry.energy_mj),
        number("" if entry.macs is None else words.macs(entry.macs), entry.macs),
        number(words.size(entry.bytes), entry.bytes),
    )  # fmt: skip


def _word(state: State | None) -> str:
    return "Not judged" if state is None else words.STATE_WORDS[state].capitalize()


def _cell(interval: Interval | None) -> Cell:
    if interval is None:
        return number("", None)
    return number(words.estimate(interval, words.digits_apart([interval], 2)), interval.value)


def _tradeoff(found: Comparison) -> Section:
    points = [
        plots.Point(_name(entry), entry.p50_ms, entry.top1_percent, _series(found, entry))
        for entry in found.entries
        if entry.p50_ms is not None and entry.top1_percent is not None
    ]
    told = "; ".join(
        f"{p.name} {words.estimate(p.top1_percent, 2)} % at {words.estimate(p.cost, 3)} ms"
        for p in points
    )
    chart = Chart("tradeoff", "Top-1 accuracy over median latency", told)

    def draw(width: int) -> str:
        return plots.svg_tradeoff(chart, points, width=width)

    caption = (
        "Up and left is better; the dashed line joins what nothing beats in both. A colour for "
        "each run; grey are the teachers."
    )
    figures = [both_widths(chart.title, caption, draw)] if points else []
    return Section("tradeoff", "Accuracy and latency", tuple(figures))


def _accuracy(found: Comparison) -> Section:
    kinds: tuple[tuple[str, str, str, Callable[[Entry], Interval | None]], ...] = (
        ("top1", "Top-1 accuracy", "top-1 accuracy (%)", lambda entry: entry.top1_percent),
        ("drop", "Drop below each run's own teacher", "top-1 drop (pp), right is worse",
         lambda entry: entry.drop_pp),
        ("gain", f"Accuracy against {found.runs[0].name}, image by image",
         "top-1 gained (pp), right is better", lambda entry: entry.gain_pp),
    )  # fmt: skip
    figures = [
        _intervals(found, slug, title, label, [(entry, take(entry)) for entry in found.entries])
        for slug, title, label, take in kinds
    ]
    return Section("accuracy", "Accuracy", tuple(figure for figure in figures if figure))


def _cost(found: Comparison) -> Section:
    figure = _intervals(
        found, "ratio", "Median latency against each run's own teacher",
        "student / teacher (ratio)", [(entry, entry.latency_ratio) for entry in found.entries],
    )  # fmt: skip
    bars = [
        charts.Bar(_name(entry), entry.bytes / _MIB, words.size(entry.bytes), _series(found, entry))
        for entry in found.entries
    ]
    told = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    chart = Chart("size", "Size of the files", told)

    def draw(width: int) -> str:
        return charts.svg_bars(chart, bars, "size (MiB)", width=width)

    sizes = both_widths(chart.title, "External weight files are counted.", draw)
    return Section("cost", "Latency and size", (figure, sizes) if figure else (sizes,))


def _intervals(
    found: Comparison,
    slug: str,
    title: str,
    label: str,
    values: Sequence[tuple[Entry, Interval | None]],
) -> Block | None:
    marks = [
        charts.Mark(
            _name(entry), value, _series(found, entry), digits=words.digits_apart([value], 2)
        )
        for entry, value in values
        if value is not None
    ]
    if not marks:
        return None
    told = "; ".join(f"{mark.name} {words.estimate(mark.interval, mark.digits)}" for mark in marks)
    chart = Chart(slug, title, told)

    def draw(width: int) -> str:
        return charts.svg_intervals(chart, marks, label, width=width)

    sure = words.confidence([mark.interval for mark in marks])
    return both_widths(title, f"Lines are {sure} confidence intervals.", draw)


def _training(names: Sequence[str], runs: Sequence[Run]) -> Section:
    curves = []
    for place, (name, run) in enumerate(zip(names, runs, strict=True)):
        course, _ = worth.courses(run)
        if course is not None:
            colour = 1 + place % _COLOURS
            curves.append(plots.Curve(name, course.seconds, course.top1_percent, colour))
    if not curves:
        return Section("training", "Training")
    told = "; ".join(
        f"{curve.name} ends at {curve.ys[-1]:.2f} % after {words.duration(curve.xs[-1])}"
        for curve in curves
    )
    chart = Chart("training", "Validation accuracy over training time", told)

    def draw(width: int) -> str:
        labels = ("training time (s)", "top-1 on validation images (%)")
        return plots.svg_lines(chart, curves, labels, width=width, whole=False)

    caption = "Training steps and the teacher's cached answers; scoring is not counted."
    return Section("training", "Training", (both_widths(chart.title, caption, draw),))


def _recipes(found: Comparison) -> Section:
    if not found.differences:
        return Section("recipes", "Recipes", (Note("All runs have the same recipe."),))
    columns = (Column("Key"), *(Column(run.name) for run in found.runs))
    rows = tuple(
        (Cell(one.key, code=True), *(Cell(value) for value in one.values))
        for one in found.differences
    )
    return Section("recipes", "Recipes", (Table("What is not the same.", columns, rows),))


def _name(entry: Entry) -> str:
    return f"{entry.run}: {entry.artifact.replace(REFERENCE, 'teacher')}"


def _series(found: Comparison, entry: Entry) -> int:
    if is_teachers(entry.artifact):
        return looks.TEACHER
    names = [run.name for run in found.runs]
    return 1 + names.index(entry.run) % _COLOURS
