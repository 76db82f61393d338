"""Latency: how fast, how sure, how steady, and what accuracy it is traded for."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import run_folder
from edgekd.core import samples as samples_of
from edgekd.core.errors import RecordError
from edgekd.core.records import Measurement, Timing
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, facts, looks, plots, words
from edgekd.report.blocks import Block, Cell, Column, Figure, Folded, Note, Panels, Section, Table
from edgekd.report.svg import Chart

_HOST = "host-cpu"
_HOST_NOTE = "Measured on the processor of the host: what is faster there need not be on a board."
_NONE = "Latency was not measured in this run yet."
_COLUMNS = (
    Column("Artifact"),
    Column("p50 (ms)", numeric=True),
    Column("p90 (ms)", numeric=True),
    Column("p99 (ms)", numeric=True),
    Column("Ratio to the first", numeric=True),
    Column("MACs left", numeric=True),
)
_MORE_COLUMNS = (
    Column("Artifact"),
    Column("Loading (ms)", numeric=True),
    Column("First inference (ms)", numeric=True),
    Column("Peak memory (MiB)", numeric=True),
    Column("Of it on the GPU (MiB)", numeric=True),
    Column("Drift, last third to first", numeric=True),
)
_FURTHER_COLUMNS = (
    Column("Artifact"),
    Column("p95 (ms)", numeric=True),
    Column("p99.9 (ms)", numeric=True),
    Column("Images per s", numeric=True),
    Column("On the GPU, without copies (ms)", numeric=True),
)


def section(run: Run) -> Section:
    """Return the section about latencies and their distributions."""
    measured = run.measurement
    if measured is None or not measured.timings:
        return Section("latency", "Latency", (Note(_NONE, "quiet"),))
    found: list[Block] = [Note(sentence) for sentence in facts.speed_sentences(run)]
    if measured.device == _HOST:
        found.append(Note(_HOST_NOTE, "quiet"))
    if measured.power_mode is not None:
        found.append(Note(f"Power mode: {measured.power_mode}.", "quiet"))
    if measured.notes:
        found.append(Note(f"To know: {'; '.join(measured.notes)}.", "quiet"))
    found += [_overview(run, measured.timings), _table(run, measured)]
    try:
        samples = samples_of.read(run_folder.measurement(run.folder), measured)
    except RecordError as error:
        found.append(Note(f"The single samples cannot be shown: {error}.", "inconclusive"))
    else:
        found += _distributions(run, measured, samples)
    found += [_further(measured), _more(measured)]
    return Section("latency", "Latency", tuple(found))


def _overview(run: Run, timings: Sequence[Timing]) -> Figure:
    series = looks.series(run)
    told = "; ".join(f"{t.subject} p50 {words.estimate(t.p50_ms, 3)} ms" for t in timings)
    chart = Chart("latency", "Latency from p50 to p99", told)

    def draw(width: int) -> str:
        chosen = [series.get(timing.subject, looks.STEP) for timing in timings]
        return charts.svg_latency(chart, timings, chosen, width=width)

    caption = (
        "The point is the median, the short stroke p90, the long stroke p99; an arrow leads beyond "
        "the axis."
    )
    return blocks.both_widths(chart.title, caption, draw)


def _table(run: Run, measured: Measurement) -> Table:
    items = facts.latencies(run)
    p50s = [item.timing.p50_ms for item in items]
    digits = words.digits_apart(p50s, words.digits_for(p50.value for p50 in p50s))
    sure = words.confidence([item.timing.p50_ms for item in items])
    caption = (
        f"{measured.engine}, batch {measured.batch}, {words.count(measured.threads, 'thread')}, "
        f"{measured.timings[0].runs:,} inferences each, in turns; intervals at {sure}."
    )
    return Table(caption, _COLUMNS, tuple(_row(item, digits) for item in items))


def _row(item: facts.Latency, digits: int) -> tuple[Cell, ...]:
    timing, ratio = item.timing, item.timing.ratio_to_first
    p99 = timing.p99_ms
    return (
        Cell(timing.subject),
        blocks.number(words.estimate(timing.p50_ms, digits), timing.p50_ms.value),
        blocks.number(words.three_digits(timing.p90_ms.value), timing.p90_ms.value),
        blocks.number(
            words.three_digits(p99.value) if p99 else "too few runs", p99.value if p99 else None
        ),
        blocks.number(
            words.estimate(ratio, words.digits_apart([ratio], 2)) if ratio else "",
            ratio.value if ratio else None,
        ),
        blocks.number(
            "" if item.macs_ratio is None else words.share(item.macs_ratio), item.macs_ratio
        ),
    )


def _further(measured: Measurement) -> Folded:
    rows = tuple(
        (
            Cell(timing.subject),
            *(
                blocks.number(
                    words.three_digits(found.value) if found else otherwise,
                    found.value if found else None,
                )
                for found, otherwise in (
                    (timing.p95_ms, "too few runs"),
                    (timing.p999_ms, "too few runs"),
                    (timing.images_per_s, ""),
                    (timing.gpu_p50_ms, ""),
                )
            ),
        )
        for timing in measured.timings
    )
    table = Table(f"Scenario {measured.scenario}.", _FURTHER_COLUMNS, rows)
    noise, locked = measured.noise_ratio, measured.clocks_locked
    said = [] if locked is None else [f"Clocks {'locked' if locked else 'not locked'}"]
    if noise is not None:
        digits = words.digits_apart([noise], 2)
        said.append(f"The first against itself (A/A): {words.estimate(noise, digits)}")
    state = (Note(f"{'. '.join(said)}.", "quiet"),) if said else ()
    return Folded("Tails, throughput and the state of the machine", (table, *state))


def _more(measured: Measurement) -> Folded:
    rows = tuple(
        (
            Cell(timing.subject),
            blocks.number(words.fixed(timing.load_ms, 1), timing.load_ms),
            blocks.number(words.fixed(timing.cold_ms, 1), timing.cold_ms),
            blocks.number(words.fixed(timing.peak_memory_mib, 1), timing.peak_memory_mib),
            blocks.number(
                ""
                if timing.device_memory_mib is None
                else words.fixed(timing.device_memory_mib, 1),
                timing.device_memory_mib,
            ),
            blocks.number(
                f"{words.signed(100 * (timing.drift_ratio - 1), 1)} %", timing.drift_ratio
            ),
        )
        for timing in measured.timings
    )
    table = Table("Beside the steady state.", _MORE_COLUMNS, rows)
    return Folded("Loading, first inference, memory and drift", (table,))


def _distributions(
    run: Run, measured: Measurement, samples: dict[str, NDArray[np.float64]]
) -> tuple[Panels, Figure]:
    series = looks.series(run)
    figures = []
    for place, timing in enumerate(measured.timings):
        mine = samples[timing.subject].ravel()
        chart = Chart(
            f"histogram-{place}",
            f"{timing.subject}: how often each latency was measured",
            f"{mine.size} inferences, from {mine.min():.4g} to {mine.max():.4g} ms",
        )
        drawn = plots.svg_histogram(chart, mine, timing, series.get(timing.subject, looks.STEP))
        figures.append(Figure(timing.subject, "", drawn))
    return Panels(tuple(figures)), _steadiness(series, measured, samples)


def _steadiness(
    series: dict[str, int], measured: Measurement, samples: dict[str, NDArray[np.float64]]
) -> Figure:
    curves = []
    for timing in measured.timings:
        mine = samples[timing.subject]
        change = 100 * (np.median(mine, axis=1) / np.median(mine) - 1)
        curves.append(
            plots.Curve(
                timing.subject,
                tuple(float(block) for block in range(1, len(mine) + 1)),
                tuple(float(value) for value in change),
                series.get(timing.subject, looks.STEP),
            )
        )
    chart = Chart(
        "steadiness", "Median of each block against the whole", "A steady machine gives flat lines."
    )
    labels = ("block (number)", "difference (%)")

    def draw(width: int) -> str:
        return plots.svg_lines(chart, curves, labels, width=width)

    caption = f"{chart.title}. {chart.description}"
    return blocks.both_widths("Steadiness, block by block", caption, draw)
