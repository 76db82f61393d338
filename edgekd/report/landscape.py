"""The loss around checkpoints as one HTML file, made from its record alone."""

from pathlib import Path

from edgekd import __version__
from edgekd.core import files
from edgekd.core.landscape import Landscape, Terrain
from edgekd.report import heat, pages, plots, svg, words
from edgekd.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Note,
    Panels,
    Section,
    Table,
    both_widths,
    number,
)
from edgekd.report.plots import Curve
from edgekd.report.svg import WIDE, Chart

_COLOURS = 5
_WHOLE_FROM = 1000
_LOSS = "cross-entropy (nats)"
_NORMS = "distance (filter norms)"
_COLUMNS = (
    Column("Checkpoint"),
    Column("Number", numeric=True),
    Column("Parameters", numeric=True),
    Column("Loss (nats)", numeric=True),
    Column("Top eigenvalue", numeric=True),
    Column("Trace", numeric=True),
    Column("Standard error of the trace", numeric=True),
    Column("Sharpness (nats)", numeric=True),
)
_CAUTIONS = (
    (
        "Pictures of networks with batch normalisation can mislead, filter-normalised ones too "
        "(https://arxiv.org/abs/2412.10146): trust a difference that pictures and numbers share."
    ),
    (
        "Eigenvalue, trace and sharpness grow when weights before a batch normalisation are "
        "scaled down, which changes no answer of the network. Compare checkpoints of one origin."
    ),
    "A flat loss on training images is no proof of fewer errors on new ones.",
)


def html(found: Landscape) -> str:
    """Return the page."""
    weights = (
        f"weights of {one.subject} ({one.model}): {sha256}"
        for one, sha256 in zip(found.terrains, found.parents, strict=True)
    )
    origin = pages.origin(found.provenance, f"images: {found.images_sha256}", *weights)
    sections = [_numbers(found), _lines(found), _planes(found), _passages(found), origin]
    return pages.template("base").render(
        title="The loss around " + words.listing([one.subject for one in found.terrains]),
        about=[
            f"{found.images:,} training images of {found.source}",
            words.moment(found.provenance.made_at),
        ],
        doubts=_doubts(found),
        sections=[section for section in sections if section.blocks],
        version=__version__,
    )


def section(found: Landscape) -> Section:
    """Return all of it as one section of a run's page."""
    parts = [part for each in (_numbers, _lines, _planes, _passages) for part in each(found).blocks]
    doubts = [Note(doubt, "quiet") for doubt in _doubts(found)]
    return Section("landscape", "The loss around the checkpoints", (*parts, *doubts))


def write(found: Landscape, path: Path) -> None:
    """Write the page, whole or not at all."""
    files.write_text(path, html(found))


def _doubts(found: Landscape) -> list[str]:
    doubts = list(_CAUTIONS)
    doubts += [
        f"{one.subject}: the eigenvalue had not settled after {one.curvature.iterations} "
        "iterations."
        for one in found.terrains
        if not one.curvature.converged
    ]
    return doubts


def _numbers(found: Landscape) -> Section:
    rho = found.terrains[0].curvature.rho
    table = Table(
        "Loss and curvature of each checkpoint, with respect to all parameters.",
        _COLUMNS,
        tuple(_row(place, one) for place, one in enumerate(found.terrains, 1)),
    )
    return Section(
        "numbers",
        "Numbers",
        (
            Note(
                "The loss is plain cross-entropy on the same images for every checkpoint, in "
                "evaluation mode, whatever each one was trained with."
            ),
            table,
            Note(
                "The top eigenvalue of the Hessian says how the loss bends in the steepest "
                "direction; a negative one marks a saddle. The trace is the sum of all "
                "eigenvalues, estimated with random vectors: differences of a few standard errors "
                f"may be chance. Sharpness is how much the loss rises in one step of length "
                f"{rho:g} straight uphill. Smaller is flatter, in each."
            ),
        ),
    )


def _row(place: int, one: Terrain) -> tuple[Cell, ...]:
    bend = one.curvature
    values = (one.loss, bend.top_eigenvalue, bend.trace, bend.trace_error, bend.sharpness)
    return (
        Cell(one.subject),
        number(str(place), place),
        number(f"{one.parameters:,}", one.parameters),
        *(number(_digits(value), value) for value in values),
    )


def _lines(found: Landscape) -> Section:
    told = "; ".join(
        f"{one.subject}: {_digits(one.loss)} in the middle, {_digits(max(one.line))} at most"
        for one in found.terrains
    )
    chart = Chart("line", "Loss along a random direction", told)

    def draw(width: int) -> str:
        room = 150 if width == WIDE else 90
        curves = [
            Curve(svg.fit(one.subject, room), found.positions, one.line, 1 + place % _COLOURS)
            for place, one in enumerate(found.terrains)
        ]
        return plots.svg_lines(
            chart, curves, (_NORMS, _LOSS), width=width, from_zero=True, whole=False
        )

    caption = (
        "At distance 1 each filter has moved by its own length. Biases and the parameters of "
        "batch normalisation stay. Networks of equal shapes move along the same random numbers."
    )
    figure = both_widths("Loss along a random direction", caption, draw)
    return Section("line", "Along a line", (figure,))


def _planes(found: Landscape) -> Section:
    known = [(one, one.plane) for one in found.terrains if one.plane is not None]
    if not known:
        return Section("plane", "Over a plane")
    bounds = heat.bands(value for _, plane in known for row in plane for value in row)
    figures = []
    for place, (one, plane) in enumerate(known):
        most = max(value for row in plane for value in row)
        told = f"from {_digits(one.loss)} in the middle to {_digits(most)} at most"
        chart = Chart(f"plane-{place}", f"Loss around {one.subject}", told)
        labels = (f"first direction, {_NORMS}", "second direction")
        drawn = heat.svg_heat(chart, found.positions, plane, bounds, labels)
        figures.append(Figure(one.subject, told.capitalize() + ".", drawn))
    lead = Note(
        f"{_LOSS.capitalize()} along two random directions; the mark is the checkpoint. The "
        "shades mean the same in every picture, and each begins at an equal ratio to the one "
        "before: the wider the pale ground, the flatter the loss."
    )
    return Section("plane", "Over a plane", (lead, Panels(tuple(figures))))


def _passages(found: Landscape) -> Section:
    if not found.passages:
        return Section("paths", "Between checkpoints")
    numbers = {one.subject: str(place) for place, one in enumerate(found.terrains, 1)}
    names = [f"{numbers[one.start]} → {numbers[one.end]}" for one in found.passages]
    told = "; ".join(
        f"{one.start} to {one.end}: barrier {_digits(one.barrier)}" for one in found.passages
    )
    chart = Chart("paths", "Loss on the straight way between checkpoints", told)
    curves = [
        Curve(
            name,
            tuple(step / (len(one.losses) - 1) for step in range(len(one.losses))),
            one.losses,
            1 + place % _COLOURS,
        )
        for place, (name, one) in enumerate(zip(names, found.passages, strict=True))
    ]

    def draw(width: int) -> str:
        labels = ("share of the second checkpoint", _LOSS)
        return plots.svg_lines(chart, curves, labels, width=width, from_zero=True, whole=False)

    blocks: tuple[Block, ...] = (
        both_widths(
            "Loss on the straight way",
            "Weights, biases and the statistics of batch normalisation are mixed.",
            draw,
        ),
        Table(
            "Barriers: the most by which the loss exceeds the straight line between its ends.",
            (
                Column("Path"),
                Column("From"),
                Column("To"),
                Column("Greatest loss (nats)", numeric=True),
                Column("Barrier (nats)", numeric=True),
            ),
            tuple(
                (
                    Cell(name),
                    Cell(one.start),
                    Cell(one.end),
                    number(_digits(max(one.losses)), max(one.losses)),
                    number(_digits(one.barrier), one.barrier),
                )
                for name, one in zip(names, found.passages, strict=True)
            ),
        ),
        Note(
            "Without a barrier both checkpoints lie in one valley. Mixed statistics of batch "
            "normalisation fit no network in between, which can raise a barrier."
        ),
    )
    return Section("paths", "Between checkpoints", blocks)


def _digits(value: float) -> str:
    """Return a number with three significant digits, or whole from 1000."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"
