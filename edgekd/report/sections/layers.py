"""Layers: how long each takes, in which precision, and what INT8 costs, where it was asked for.

``edgekd profile FILE --layers --out RUN/layers/NAME`` brings times and precisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.agent.layers import LayerTime, parse_profile
from edgekd.agent.protocol import AgentError
from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import Measurement
from edgekd.core.run_folder import Run
from edgekd.core.sensitivity import Sensitivity
from edgekd.report import blocks, charts, looks, svg, words
from edgekd.report.blocks import Block, Cell, Column, Figure, Heading, Note, Section, Table
from edgekd.report.svg import WIDE, Chart

_BARS = 15  # layers that are drawn; the table has all
_TITLE = "Layers"
_FILE = "layers.json"
_TO, _UNKNOWN = " to ", "not said"  # "FP32 to INT8"; where the engine does not say
_COLUMNS = (
    Column("Layer"),
    Column("Time (ms)", numeric=True),
    Column("Share", numeric=True),
    Column("Precision"),
    Column("Alone in INT8, KL (nats)", numeric=True),
    Column("Its drop (pp)", numeric=True),
)


@dataclass(frozen=True)
class _Timed:
    """The layers of one file, the longest first."""

    name: str  # of the artifact; else as it was named when it was measured
    series: int
    measured: Measurement
    layers: tuple[LayerTime, ...]
    sensitivity: Sensitivity | None  # of the same weights for the same target


def section(run: Run) -> Section | None:
    """Return the section; None: no file's layers were timed."""
    folders = [path.parent for path in sorted(run_folder.layers(run.folder).rglob(_FILE))]
    parts = [block for place, folder in enumerate(folders) for block in _blocks(run, folder, place)]
    if not parts:
        return None
    lead = Note(
        "Timing its layers slows a network down: the times say where it goes, not how much there "
        "is of it. Precision is what the engine says of the layers that ran."
    )
    return Section("layers", _TITLE, (lead, *parts))


def _blocks(run: Run, folder: Path, place: int) -> list[Block]:
    try:
        found = _read(run, folder)
    except RecordError as error:
        return [Note(f"{error}.", "inconclusive")]
    heading = Heading(f"{found.name} on {found.measured.device} by {found.measured.engine}")
    return [heading, Note(_by_precision(found.layers)), _figure(found, place), _table(found)]


def _read(run: Run, folder: Path) -> _Timed:
    measured = records.read(Measurement, folder / "measurement.json")
    path = folder / _FILE
    try:
        profile = parse_profile(path.read_text(encoding="utf-8"))
    except (AgentError, UnicodeDecodeError) as error:
        raise RecordError(f"'{path}' does not hold the times of layers: {error}") from error
    timing = measured.timings[-1]  # the reference comes first
    name = next((name for name, one in run.artifacts.items() if one.sha256 == timing.sha256), None)
    found = run.sensitivity
    artifact = run.artifacts.get(name or "")
    if (
        found
        and artifact
        and (found.target, found.parents[:1]) != (artifact.target, artifact.parents[:1])
    ):
        found = None
    return _Timed(
        name=name or timing.subject,
        series=looks.series(run).get(name or "", looks.STEP),
        measured=measured,
        layers=tuple(sorted(profile.layers, key=_ms, reverse=True)),
        sensitivity=found if artifact else None,
    )  # fmt: skip


def _by_precision(layers: Sequence[LayerTime]) -> str:
    """Return "Time by precision: INT8 83 %, FP32 12 % and converting 5 %."."""
    if not any(layer.precision for layer in layers):
        return "The engine does not say in which precision its layers compute."
    times: dict[str, float] = {}
    for layer in layers:
        name = "converting" if _TO in layer.precision else _shown(layer)
        times[name] = times.get(name, 0.0) + _ms(layer)
    whole = sum(times.values()) or 1.0
    longest = sorted(times, key=times.__getitem__, reverse=True)
    parts = [f"{name} {words.share(times[name] / whole)}" for name in longest]
    return f"Time by precision: {words.listing(parts)}."


def _shown(layer: LayerTime) -> str:
    return layer.precision.upper().replace(_TO.upper(), _TO) or _UNKNOWN


def _figure(found: _Timed, place: int) -> Figure:
    shown = [(layer.name, _ms(layer)) for layer in found.layers[:_BARS]]
    told = "; ".join(f"{name} {words.three_digits(ms)} ms" for name, ms in shown[:5])
    chart = Chart(f"layer-times-{place}", "Where the time goes", f"The longest: {told}")

    def draw(width: int) -> str:
        room = 260 if width == WIDE else 180
        bars = [
            charts.Bar(svg.fit(name, room), ms, words.three_digits(ms), found.series)
            for name, ms in shown
        ]
        return charts.svg_bars(chart, bars, "time (ms)", width=width)

    caption = f"The longest {len(shown)} of {words.count(len(found.layers), 'layer')}."
    return blocks.both_widths(chart.title, caption, draw)


def _table(found: _Timed) -> Table:
    whole = sum(map(_ms, found.layers)) or 1.0
    rows = tuple(
        (
            Cell(layer.name, code=True, whole=layer.name),
            blocks.number(words.three_digits(_ms(layer)), _ms(layer)),
            blocks.number(words.share(_ms(layer) / whole), _ms(layer) / whole),
            Cell(_shown(layer)),
            *_sensitivity(found.sensitivity, layer.name),
        )
        for layer in found.layers
    )
    caption = f"Each layer of {found.name} as the engine runs it."
    if found.sensitivity:
        caption += " What one costs is measured with it alone in INT8."
    return Table(caption, _COLUMNS, rows)


def _sensitivity(found: Sensitivity | None, layer: str) -> tuple[Cell, Cell]:
    """Return what the layer alone costs in INT8, as far as it is known."""
    modules = modules_of(layer)
    known = [one for one in found.layers if one.layer in modules] if found else []
    if not known:
        return blocks.number("", None), blocks.number("", None)
    worst = max(known, key=lambda one: one.alone.kl_nats).alone
    return (
        blocks.number(f"{worst.kl_nats:.3g}", worst.kl_nats),
        blocks.number(words.estimate(worst.drop_pp, 2), worst.drop_pp.value),
    )


def modules_of(layer: str) -> set[str]:
    """Return the modules in a layer's name, which joins the names of the nodes fused in it.

    >>> sorted(modules_of("layer1.0.conv1/Conv + layer1.0.relu/Relu"))
    ['layer1.0.conv1', 'layer1.0.relu']
    """
    nodes = (node.strip().strip("/") for node in layer.split(" + "))
    return {node.rpartition("/")[0] for node in nodes if "/" in node}


def _ms(layer: LayerTime) -> float:
    return layer.mean_ms if layer.median_ms is None else layer.median_ms
