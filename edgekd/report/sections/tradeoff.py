"""Accuracy against what an inference costs: latency, and energy where it was measured."""

from edgekd.core.records import Interval, Timing
from edgekd.core.run_folder import Run
from edgekd.report import blocks, looks, plots, words
from edgekd.report.blocks import Figure, Note, Section
from edgekd.report.svg import Chart

_TITLE = "Accuracy and cost"
_NONE = "No artifact has both an accuracy and a latency yet."


def section(run: Run) -> Section:
    """Return the section."""
    timings = run.measurement.timings if run.measurement else ()
    figures = [
        _figure(run, "tradeoff", ("latency, p50", "ms"), {t.subject: t.p50_ms for t in timings}),
        _figure(run, "tradeoff-energy", ("energy of an image", "mJ"), _energies(timings)),
    ]
    shown = tuple(figure for figure in figures if figure is not None)
    return Section("tradeoff", _TITLE, shown or (Note(_NONE, "quiet"),))


def _energies(timings: tuple[Timing, ...]) -> dict[str, Interval]:
    return {t.subject: t.energy.per_image_mj for t in timings if t.energy is not None}


def _figure(
    run: Run, slug: str, cost: tuple[str, str], costs: dict[str, Interval]
) -> Figure | None:
    series = looks.series(run)
    points = [
        plots.Point(
            name,
            value,
            run.accuracies[run.shipped(name)].top1_percent,
            series.get(name, looks.STEP),
        )
        for name, value in costs.items()
        if run.shipped(name) in run.accuracies
    ]
    if not points or run.measurement is None:
        return None
    told = "; ".join(
        f"{p.name} {words.estimate(p.top1_percent, 2)} % at {words.estimate(p.cost, 3)} {cost[1]}"
        for p in points
    )
    chart = Chart(slug, f"Top-1 accuracy over {cost[0].partition(',')[0]}", told)

    def draw(width: int) -> str:
        return plots.svg_tradeoff(chart, points, cost=cost, width=width)

    caption = (
        f"Up and left is better. Whiskers are confidence intervals; the dashed line joins what "
        f"nothing beats in both. Grey is the teacher. Batch {run.measurement.batch} on "
        f"{run.measurement.device}."
    )
    return blocks.both_widths(chart.title, caption, draw)
