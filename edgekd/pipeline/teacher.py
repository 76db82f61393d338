"""The teacher: open it, train or adapt it if the recipe says so, and doubt it."""

import logging
from pathlib import Path

from edgekd.core import records, run_folder, specs, statistics
from edgekd.core.errors import UsageError
from edgekd.data.sources import Splits
from edgekd.models import checkpoint, head, score
from edgekd.models.checkpoint import Model
from edgekd.pipeline import train
from edgekd.pipeline.job import Job, seeded, shape_of

log = logging.getLogger(__name__)

_CONFIDENCE = 0.999  # of the intervals that are called different: a warning must not cry wolf
_CURE = (
    "Distilling from a teacher that does not fit the images does harm: check the order of the "
    "classes and the normalisation, or adapt it to the images first with [teacher.train]."
)


def make(job: Job) -> Model:
    """Do the step that gives the teacher's checkpoint."""
    spec = job.recipe.teacher
    folder = run_folder.checkpoint(job.folder, "teacher")

    def work() -> None:
        with seeded(job.recipe.training.seed):
            model = open_spec(spec, job.splits)
        if spec.train is not None:
            train.fit_and_save(job, model, None, spec.train, "teacher", "teacher")
        else:
            save(model, folder, job.splits, job.device)

    depends = {
        "teacher": spec.model_dump(mode="json"),
        "weights": train.fingerprint(spec.weights),
        "folder": train.fingerprint(Path(spec.model) / "checkpoint.json"),
        **train.depends_on(job),
    }
    job.do("teacher", train.outputs(job, "teacher"), depends, work, together=spec.train is not None)
    model = checkpoint.load(folder)
    doubt = misfit(model.record, len(job.splits.validation), spec.expected_top1_percent)
    if doubt and job.workers.main:
        log.warning("%s", doubt)
    return model


def open_spec(spec: specs.Teacher, splits: Splits) -> Model:
    """Build the teacher and load its weights; for other classes it gets a new classifier.

    Raises:
        UsageError: it has other classes than the images, and is not trained to know them.
    """
    wanted = len(splits.class_names)
    classes = spec.classes or wanted
    model = checkpoint.open_model(
        spec.model,
        weights=spec.weights,
        classes=classes,
        mean=spec.mean,
        std=spec.std,
        class_names=splits.class_names if classes == wanted else None,
        input_shape=shape_of(splits.train),
    )
    if classes == wanted:
        return model
    if spec.train is None:
        raise UsageError(
            f"the teacher has {classes} classes, but the images have {wanted}: add "
            "[teacher.train], which gives it a new classifier and trains it"
        )
    return head.renewed(model, splits.class_names)


def save(model: Model, folder: Path, splits: Splits, device: str) -> None:
    """Write a teacher that came from outside as a checkpoint, with its validation accuracy."""
    top1 = score.top1_percent(
        model.module,
        splits.validation,
        model.record.normalisation,
        device=device,
    )
    record = model.record.model_copy(
        update={"stage": "teacher", "validation_top1_percent": top1, "data": splits.identity()}
    )
    checkpoint.save(folder, model.module, record, model.surgery)


def misfit(
    record: records.Checkpoint, images: int, expected_top1_percent: float | None
) -> str | None:
    """Say so if the teacher does not fit the validation images.

    Args:
        record: the teacher's, with its accuracy on the validation images.
        images: how many of them there are.
        expected_top1_percent: what its makers measured; None: not known.
    """
    if record.validation_top1_percent is None:
        return None
    correct = round(record.validation_top1_percent * images / 100)
    measured = statistics.wilson(correct, images, _CONFIDENCE)
    found = f"{record.validation_top1_percent:.1f} % of the {images} validation images right"
    if measured.low <= 1 / record.classes:
        return f"the teacher has {found}, no better than chance. {_CURE}"
    if expected_top1_percent is not None and 100 * measured.high < expected_top1_percent:
        return f"the teacher has {found}; its makers measured {expected_top1_percent:g} %. {_CURE}"
    return None
