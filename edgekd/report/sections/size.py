"""The exported files: size, form, and how closely they follow their checkpoints."""

from edgekd.core import run_folder
from edgekd.core.records import Artifact, Parity
from edgekd.core.run_folder import Run
from edgekd.report import blocks, charts, looks, words
from edgekd.report.blocks import Cell, Column, Figure, Note, Section, Table
from edgekd.report.svg import Chart

_KIB, _MIB = 2**10, 2**20
_COLUMNS = (
    Column("Artifact"),
    Column("Size", numeric=True),
    Column("INT8 / float layers", numeric=True),
    Column("Calibration"),
    Column("Opset", numeric=True),
    Column("Relative error / tolerance", numeric=True),
    Column("Top-1 agreement", numeric=True),
    Column("Parity"),
)


def section(run: Run) -> Section:
    """Return the artifacts' section."""
    if not run.artifacts:
        note = Note("No model file was exported in this run yet.", "quiet")
        return Section("artifacts", "Exported files", (note,))
    return Section("artifacts", "Exported files", (_figure(run), _table(run)))


def _figure(run: Run) -> Figure:
    series = looks.series(run)
    most = max(artifact.bytes for artifact in run.artifacts.values())
    unit, divisor = ("MiB", _MIB) if most >= _MIB else ("KiB", _KIB)
    bars = [
        charts.Bar(name, artifact.bytes / divisor, words.size(artifact.bytes), series[name])
        for name, artifact in run.artifacts.items()
    ]
    told = "; ".join(f"{bar.name} {bar.text}" for bar in bars)
    chart = Chart("size", "Size of the exported files", told)

    def draw(width: int) -> str:
        return charts.svg_bars(chart, bars, f"size ({unit})", width=width)

    return blocks.both_widths(chart.title, "External weight files are counted.", draw)


def _table(run: Run) -> Table:
    caption = "How closely each file follows the checkpoint it was exported from, on real images."
    rows = []
    for name, artifact in run.artifacts.items():
        rows.append(_row(name, artifact, artifact.bytes, artifact.parity))
        built = run.engines.get(name)
        if built is not None:
            engine = f"{run_folder.engine(name)} on {built.parity.device}"
            rows.append(_row(engine, artifact, built.bytes, built.parity.to_checkpoint))
    return Table(caption, _COLUMNS, tuple(rows))


def _row(name: str, artifact: Artifact, size: int, parity: Parity) -> tuple[Cell, ...]:
    state = words.STATE_WORDS[parity.state].capitalize()
    error = f"{parity.relative_error:.2g} / {parity.tolerance:.2g}"
    agreement = f"{100 * parity.top1_agreement_ratio:.1f} % of {parity.images}"
    return (
        Cell(name),
        blocks.number(words.size(size), size),
        blocks.number(
            f"{artifact.quantised_layers} / {artifact.float_layers}", artifact.quantised_layers
        ),
        Cell(artifact.calibration or "none"),
        blocks.number(str(artifact.opset), artifact.opset),
        blocks.number(error, parity.relative_error),
        blocks.number(agreement, parity.top1_agreement_ratio),
        Cell(state, tone=parity.state),
    )
