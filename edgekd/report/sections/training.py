"""Training: each loss term, accuracy on the validation images, learning rate, gradients."""

from edgekd.core.records import Epoch, Training
from edgekd.core.run_folder import Run, is_control
from edgekd.report import blocks, plots, words, worth
from edgekd.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Folded,
    Heading,
    Note,
    Panels,
    Section,
    Table,
)
from edgekd.report.plots import Curve
from edgekd.report.svg import Chart

_COLOURS = 5
_EPOCH = "epoch (number)"
_COLUMNS = (
    Column("Epoch"),
    Column("Term"),
    Column("Value", numeric=True),
    Column("Weight", numeric=True),
    Column("Weighted", numeric=True),
    Column("Gradient norm", numeric=True),
)


def section(run: Run) -> Section:
    """Return the training curves of every stage."""
    found: list[Block] = []
    for place, (name, training) in enumerate(run.trainings.items()):
        shown = _stage(f"training-{place}", name, training)
        if is_control(name):
            found.append(Folded(f"{name}: by the labels alone", tuple(shown)))
        else:
            found += [Heading(name), *shown]
    if not found:
        found.append(Note("Nothing was trained in this run yet.", "quiet"))
    return Section("training", "Training", tuple(found))


def _stage(slug: str, name: str, training: Training) -> list[Block]:
    epochs = training.epochs
    notes = [Note(f"Settings: {'; '.join(training.notes)}.", "quiet")] if training.notes else []
    if not epochs:
        return [Note("No epoch was trained: the weights are those at the start."), *notes]
    best = (float(training.best_epoch), f"kept: epoch {training.best_epoch}")
    figures = [
        _terms(f"{slug}-loss", name, epochs),
        *_validation(slug, name, epochs, best if training.best_epoch else None),
        _single(
            f"{slug}-rate", f"{name}: learning rate", "learning rate (unitless)",
            Curve("rate", _numbers(epochs), tuple(e.learning_rate for e in epochs), 0),
            from_zero=True,
        ),
    ]  # fmt: skip
    if any(epoch.gradient_norms for epoch in epochs):
        figures.append(_gradients(f"{slug}-gradient", name, epochs))
    shock = worth.shock_sentence(training)
    return [
        Note(_lead(training)),
        *([Note(shock)] if shock else []),
        Panels(tuple(figures)),
        Folded("Every term in numbers", (_table(name, epochs),)),
        *notes,
    ]


def _lead(training: Training) -> str:
    epochs = training.epochs
    seconds = sum(epoch.train_seconds for epoch in epochs)
    kept = next((e for e in epochs if e.epoch == training.best_epoch), None)
    text = f"{words.count(len(epochs), 'epoch')} in {words.duration(seconds)}"
    if training.cache_seconds:
        text += f", and {words.duration(training.cache_seconds)} for the teacher's answers"
    if kept is None:
        return f"{text}. No epoch was better than the weights at the start, so these were kept."
    text += f". Epoch {kept.epoch} was kept"
    if kept.validation_top1_percent is not None:
        return f"{text}: {kept.validation_top1_percent:.2f} % of the validation images right."
    if kept.validation_agreement_percent is None:
        return f"{text}."
    return (
        f"{text}: it agrees with the teacher on {kept.validation_agreement_percent:.2f} % of the "
        "validation images. This stage reads no labels, so how many are right is not known."
    )


def _validation(
    slug: str, name: str, epochs: tuple[Epoch, ...], marked: tuple[float, str] | None
) -> list[Figure]:
    """Return the curve of what chose the epoch: top-1, else agreement with the teacher."""
    kinds = (
        ("accuracy", "top-1 on validation images (%)", [e.validation_top1_percent for e in epochs]),
        (
            "agreement with the teacher",
            "same class as the teacher (%)",
            [e.validation_agreement_percent for e in epochs],
        ),
    )
    for what, label, values in kinds:
        known = [(float(e.epoch), y) for e, y in zip(epochs, values, strict=True) if y is not None]
        if known:
            xs, ys = zip(*known, strict=True)
            curve = Curve(what, xs, ys, 1)
            return [
                _single(f"{slug}-accuracy", f"{name}: validation {what}", label, curve,
                        marked=marked)
            ]  # fmt: skip
    return []


def _table(name: str, epochs: tuple[Epoch, ...]) -> Table:
    rows = [_row(epoch, term) for epoch in epochs for term in epoch.terms]
    caption = (
        f"{name}: means over the steps of each epoch; the loss is the sum of what is weighted. "
        "The gradient's norm is that of the weighted term, on one batch at the epoch's end."
    )
    return Table(caption, _COLUMNS, tuple(rows))


def _row(epoch: Epoch, term: str) -> tuple[Cell, ...]:
    weighted, weight = epoch.terms[term], epoch.weights.get(term)
    values = (
        weighted / weight if weight else None, weight, weighted, epoch.gradient_norms.get(term),
    )  # fmt: skip
    numbers = [blocks.number("" if value is None else f"{value:.4g}", value) for value in values]
    return Cell(str(epoch.epoch), order=epoch.epoch), Cell(term), *numbers


def _terms(slug: str, name: str, epochs: tuple[Epoch, ...]) -> Figure:
    chart = Chart(slug, f"{name}: weighted loss terms", _told([e.terms for e in epochs]))
    curves = _curves(epochs, [epoch.terms for epoch in epochs])
    drawn = plots.svg_lines(chart, curves, (_EPOCH, "weighted loss (unitless)"), from_zero=True)
    return Figure("Loss terms, weighted", "", drawn)


def _gradients(slug: str, name: str, epochs: tuple[Epoch, ...]) -> Figure:
    norms = [epoch.gradient_norms for epoch in epochs]
    chart = Chart(slug, f"{name}: gradient norm of each term", _told(norms))
    curves = _curves(epochs, norms)
    drawn = plots.svg_lines(chart, curves, (_EPOCH, "gradient norm (unitless)"), from_zero=True)
    return Figure("Gradient norms before the classifier", "", drawn)


def _single(
    slug: str,
    title: str,
    label: str,
    curve: Curve,
    *,
    from_zero: bool = False,
    marked: tuple[float, str] | None = None,
) -> Figure:
    told = f"from {curve.ys[0]:.4g} to {curve.ys[-1]:.4g} over {len(curve.ys)} epochs"
    drawn = plots.svg_lines(
        Chart(slug, title, told), [curve], (_EPOCH, label), from_zero=from_zero, marked=marked
    )
    return Figure(title.rpartition(": ")[2].capitalize(), "", drawn)


def _curves(epochs: tuple[Epoch, ...], values: list[dict[str, float]]) -> list[Curve]:
    """Return a curve for each term; one that a later epoch brings in begins there."""
    names = dict.fromkeys(name for one in values for name in one)
    curves = []
    for place, name in enumerate(names):
        known = [
            (float(epoch.epoch), one[name])
            for epoch, one in zip(epochs, values, strict=True)
            if name in one
        ]
        xs, ys = zip(*known, strict=True)
        curves.append(Curve(name, xs, ys, 1 + place % _COLOURS))
    return curves


def _told(values: list[dict[str, float]]) -> str:
    last = values[-1]
    return "; ".join(f"{name} ends at {value:.4g}" for name, value in last.items())


def _numbers(epochs: tuple[Epoch, ...]) -> tuple[float, ...]:
    return tuple(float(epoch.epoch) for epoch in epochs)
