"""Training: each loss term, accuracy on the validation images, learning rate, gradients."""

from edgekd.core.records import Epoch, Training
from edgekd.core.run_folder import Run
from edgekd.report import plots, words
from edgekd.report.blocks import Block, Figure, Heading, Note, Panels, Section
from edgekd.report.plots import Curve
from edgekd.report.svg import Chart

_COLOURS = 5
_EPOCH = "epoch (number)"


def section(run: Run) -> Section:
    """Return the training curves of every stage."""
    found: list[Block] = []
    for place, (name, training) in enumerate(run.trainings.items()):
        found.append(Heading(name))
        found += _stage(f"training-{place}", name, training)
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
        _single(
            f"{slug}-accuracy", f"{name}: validation accuracy", "top-1 on validation images (%)",
            Curve("top-1", _numbers(epochs), tuple(e.validation_top1_percent for e in epochs), 1),
            marked=best if training.best_epoch else None,
        ),
        _single(
            f"{slug}-rate", f"{name}: learning rate", "learning rate (unitless)",
            Curve("rate", _numbers(epochs), tuple(e.learning_rate for e in epochs), 0),
            from_zero=True,
        ),
    ]  # fmt: skip
    if any(epoch.gradient_norms for epoch in epochs):
        figures.append(_gradients(f"{slug}-gradient", name, epochs))
    return [Note(_lead(training)), Panels(tuple(figures)), *notes]


def _lead(training: Training) -> str:
    epochs = training.epochs
    seconds = sum(epoch.train_seconds for epoch in epochs)
    kept = next((e for e in epochs if e.epoch == training.best_epoch), None)
    text = f"{words.count(len(epochs), 'epoch')} in {words.duration(seconds)}"
    if training.cache_seconds:
        text += f", and {words.duration(training.cache_seconds)} for the teacher's answers"
    if kept is None:
        return f"{text}. No epoch was better than the weights at the start, so these were kept."
    return (
        f"{text}. Epoch {kept.epoch} was kept: "
        f"{kept.validation_top1_percent:.2f} % of the validation images right."
    )


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
