"""What INT8 costs, layer by layer, as one HTML file, made from its record alone."""

from pathlib import Path

from edgekd import __version__
from edgekd.core import files
from edgekd.core.sensitivity import Damage, Layer, Mixed, Sensitivity
from edgekd.report import charts, pages, svg, words
from edgekd.report.blocks import (
    Cell,
    Column,
    Note,
    Section,
    Table,
    Tone,
    both_widths,
    number,
)
from edgekd.report.charts import Bar
from edgekd.report.svg import WIDE, Chart

_INT8, _FLOAT = 2, 1  # colours
_BARS = 40  # layers that are drawn; the table has all
_CAUTION = (
    "The rule was tried with several choices on these images, so it holds a little less surely "
    "than it says: let the gate judge the exported file, on test images."
)


def html(found: Sensitivity) -> str:
    """Return the page."""
    origin = pages.origin(
        found.provenance, f"images: {found.images_sha256}", f"weights: {found.parents[0]}"
    )
    sections = [_bars(found), _table(found), _mixed(found), origin]
    return pages.template("base").render(
        title=f"What INT8 costs {found.subject}",
        about=[
            f"target {found.target}, ranges by {found.calibration}",
            f"{found.images:,} validation images of {found.source}",
            words.moment(found.provenance.made_at),
        ],
        doubts=[_CAUTION] if found.mixed is not None else [],
        sections=[section for section in sections if section.blocks],
        version=__version__,
    )


def section(found: Sensitivity) -> Section:
    """Return all of it as one section of a run's page."""
    lead = Note(
        f"What INT8 costs '{found.subject}' for {found.target}, on {found.images:,} validation "
        "images."
    )
    parts = [part for each in (_bars, _table, _mixed) for part in each(found).blocks]
    return Section("sensitivity", "Sensitivity to INT8", (lead, *parts))


def write(found: Sensitivity, path: Path) -> None:
    """Write the page, whole or not at all."""
    files.write_text(path, html(found))


def _bars(found: Sensitivity) -> Section:
    shown = found.layers[:_BARS]
    kept = found.mixed.keep_float if found.mixed else ()
    told = "; ".join(f"{one.layer} {digits(one.alone.kl_nats)}" for one in shown[:5])
    chart = Chart(
        "sensitivity", "What each layer alone costs in INT8", f"The most sensitive: {told}"
    )

    def draw(width: int) -> str:
        room = 220 if width == WIDE else 180
        bars = [
            Bar(
                svg.fit(one.layer, room),
                one.alone.kl_nats,
                digits(one.alone.kl_nats),
                _FLOAT if one.layer in kept else _INT8,
            )
            for one in shown
        ]
        return charts.svg_bars(chart, bars, "KL divergence from float (nats)", width=width)

    caption = "One layer in INT8 and all others in float; the most sensitive first."
    if len(shown) < len(found.layers):
        caption += f" The first {len(shown)} of {len(found.layers)} are drawn."
    if kept:
        caption += " Layers in the other colour stay float in mixed precision."
    figure = both_widths("What each layer alone costs in INT8", caption, draw)
    return Section("layers", "Layer by layer", (_whole(found), figure))


def _whole(found: Sensitivity) -> Note:
    all_of_them = found.everything
    return Note(
        f"In float {found.top1_percent:.2f} % of the images are right, with all "
        f"{words.count(len(found.layers), 'layer')} in INT8 {all_of_them.top1_percent:.2f} %: a "
        f"drop of {words.estimate(all_of_them.drop_pp, 2)} pp, KL divergence "
        f"{digits(all_of_them.kl_nats)} nats."
        + (f" The target leaves float: {', '.join(found.left_float)}." if found.left_float else "")
    )


def _table(found: Sensitivity) -> Section:
    without = any(one.without for one in found.layers)
    columns = [
        Column("Layer"),
        Column("Operator"),
        Column("KL (nats)", numeric=True),
        Column("Relative L2", numeric=True),
        Column("Largest error", numeric=True),
        Column("Top-1 (%)", numeric=True),
        Column("Drop, paired (pp)", numeric=True),
    ]
    if without:
        columns += [
            Column("KL of all others (nats)", numeric=True),
            Column("Their drop (pp)", numeric=True),
        ]
    table = Table(
        "Each layer alone in INT8, against the float network; intervals at 95 %.",
        tuple(columns),
        tuple(_row(one) for one in found.layers),
    )
    return Section("numbers", "Numbers", (table,))


def _row(one: Layer) -> tuple[Cell, ...]:
    cells = [Cell(one.layer, code=True), Cell(one.operator), _kl(one.alone)]
    cells += [
        number(digits(value), value) for value in (one.alone.relative_l2, one.alone.max_error)
    ]
    cells += [number(f"{one.alone.top1_percent:.2f}", one.alone.top1_percent), _drop(one.alone)]
    if one.without is not None:
        cells += [_kl(one.without), _drop(one.without)]
    return tuple(cells)


def _kl(one: Damage) -> Cell:
    return number(digits(one.kl_nats), one.kl_nats)


def _drop(one: Damage) -> Cell:
    return number(words.estimate(one.drop_pp, 2), one.drop_pp.value)


def _mixed(found: Sensitivity) -> Section:
    mixed = found.mixed
    if mixed is None:
        return Section("mixed", "Mixed precision")
    tone: Tone = mixed.state
    lead = Note(
        f"Rule: top-1 drop against float below {mixed.margin:g} pp at "
        f"{100 * mixed.confidence:g} % confidence. {words.STATE_WORDS[mixed.state]}: "
        f"{mixed.message}.",
        tone,
    )
    return Section("mixed", "Mixed precision", (lead, *([_trials(mixed)] if mixed.trials else [])))


def _trials(mixed: Mixed) -> Table:
    return Table(
        "Choices that were exported and judged, in their order.",
        (
            Column("Choice", numeric=True),
            Column("Layers in float", numeric=True),
            Column("Drop (pp)", numeric=True),
            Column("Rule"),
            Column("Which"),
        ),
        tuple(
            (
                number(str(place), place),
                number(str(len(one.keep_float)), len(one.keep_float)),
                number(words.estimate(one.drop_pp, 2), one.drop_pp.value),
                Cell(words.STATE_WORDS[one.state], tone=one.state),
                Cell(", ".join(one.keep_float) or "none"),
            )
            for place, one in enumerate(mixed.trials, 1)
        ),
    )


def digits(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.3g}"
