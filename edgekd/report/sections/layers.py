"""Layers: how long each takes, and what INT8 does to it, where both were asked for.

``edgekd profile FILE --layers --out RUN/layers`` brings the times.
"""

from dataclasses import dataclass

from edgekd.agent.layers import LayerTime, parse_profile
from edgekd.agent.protocol import AgentError
from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.records import Measurement
from edgekd.core.run_folder import Run
from edgekd.core.sensitivity import Sensitivity
from edgekd.report import blocks, charts, looks, svg, words
from edgekd.report.blocks import Cell, Column, Figure, Note, Section, Table
from edgekd.report.svg import WIDE, Chart

_BARS = 15  # layers that are drawn; the table has all
_TITLE = "Layers"
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
    layers: tuple[tuple[str, float], ...]  # name, ms
    sensitivity: Sensitivity | None  # of the same weights for the same target


def section(run: Run) -> Section | None:
    """Return the section; None: the layers were not timed."""
    if not (run_folder.layers(run.folder) / "layers.json").is_file():
        return None
    try:
        found = _read(run)
    except RecordError as error:
        return Section("layers", _TITLE, (Note(f"{error}.", "inconclusive"),))
    lead = Note(
        f"'{found.name}' on {found.measured.device} by {found.measured.engine}. Timing its layers "
        "slows a network down: the times say where it goes, not how much there is of it."
    )
    return Section("layers", _TITLE, (lead, _figure(found), _table(found)))


def _read(run: Run) -> _Timed:
    folder = run_folder.layers(run.folder)
    measured = records.read(Measurement, folder / "measurement.json")
    path = folder / "layers.json"
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
    ordered = sorted(((one.name, _ms(one)) for one in profile.layers), key=lambda one: -one[1])
    return _Timed(
        name=name or timing.subject,
        series=looks.series(run).get(name or "", looks.STEP),
        measured=measured,
        layers=tuple(ordered),
        sensitivity=found if artifact else None,
    )  # fmt: skip


def _figure(found: _Timed) -> Figure:
    shown = found.layers[:_BARS]
    told = "; ".join(f"{name} {words.three_digits(ms)} ms" for name, ms in shown[:5])
    chart = Chart("layer-times", "Where the time goes", f"The longest: {told}")

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
    whole = sum(ms for _, ms in found.layers) or 1.0
    rows = tuple(
        (
            Cell(name, code=True, whole=name),
            blocks.number(words.three_digits(ms), ms),
            blocks.number(words.share(ms / whole), ms / whole),
            *_sensitivity(found.sensitivity, name),
        )
        for name, ms in found.layers
    )
    caption = "Each layer as the engine runs it; what it costs in INT8, where that was measured."
    return Table(caption, _COLUMNS, rows)


def _sensitivity(found: Sensitivity | None, layer: str) -> tuple[Cell, Cell, Cell]:
    """Return precision, and what the layer alone costs in INT8, as far as it is known."""
    modules = modules_of(layer)
    known = [one for one in found.layers if one.layer in modules] if found else []
    if known:
        worst = max(known, key=lambda one: one.alone.kl_nats).alone
        return (
            Cell("INT8"),
            blocks.number(f"{worst.kl_nats:.3g}", worst.kl_nats),
            blocks.number(words.estimate(worst.drop_pp, 2), worst.drop_pp.value),
        )
    is_float = found is not None and not modules.isdisjoint(found.left_float)
    return (
        Cell("float" if is_float else ""), blocks.number("", None), blocks.number("", None)
    )  # fmt: skip


def modules_of(layer: str) -> set[str]:
    """Return the modules in a layer's name, which joins the names of the nodes fused in it.

    >>> sorted(modules_of("layer1.0.conv1/Conv + layer1.0.relu/Relu"))
    ['layer1.0.conv1', 'layer1.0.relu']
    """
    nodes = (node.strip().strip("/") for node in layer.split(" + "))
    return {node.rpartition("/")[0] for node in nodes if "/" in node}


def _ms(layer: LayerTime) -> float:
    return layer.mean_ms if layer.median_ms is None else layer.median_ms
