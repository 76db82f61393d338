"""The student before it is taught: cut, another architecture, or quantised."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

from edgekd.core import run_folder, specs
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline import cuts, quantized, train
from edgekd.pipeline.job import Job, seeded, shape_of
from edgekd.prune import channels


def make(job: Job, teacher: Model) -> Model:
    """Do the steps that give the student's first checkpoints, and return the last of them."""
    spec = job.recipe.student
    student = _initial(job, teacher) if spec.prune is None else cut(job, teacher, spec.prune)
    if spec.quantize is None:
        return student
    return _quantise(job, student, quantized.aimed(spec.quantize, job.recipe.export.targets))


def cut(job: Job, model: Model, prune: specs.Prune, prefix: str = "") -> Model:
    """Do the steps that prune a model and take its BN statistics anew.

    Args:
        job: the run.
        model: is left as it is.
        prune: how.
        prefix: of the checkpoints' names.
    """
    training = job.recipe.training
    pruned = run_folder.checkpoint(job.folder, f"{prefix}pruned")
    depends = {
        "teacher": model.record.identity(),
        "prune": prune.model_dump(mode="json", exclude={"recalibrate_images"}),
        **train.depends_on(job),
    }
    job.do(
        f"{prefix}pruned",
        [pruned],
        depends,
        lambda: cuts.prune(model, prune, job.splits, training, pruned),
    )
    smaller = checkpoint.load(pruned)
    if not prune.recalibrate_images:
        return smaller
    fresh = run_folder.checkpoint(job.folder, f"{prefix}recalibrated")
    depends = {
        "pruned": smaller.record.identity(),
        "images": prune.recalibrate_images,
        **train.depends_on(job),
    }
    count = prune.recalibrate_images
    job.do(
        f"{prefix}recalibrated",
        [fresh],
        depends,
        lambda: cuts.recalibrate(smaller, count, job.splits, training, fresh),
    )
    return checkpoint.load(fresh)


def rehearse(model: Model, cuts_to_come: Sequence[specs.Prune]) -> None:
    """Make the cuts on a copy, so that one that cannot be made is told of before any training.

    Raises:
        UsageError: see ``prune.channels.prune``.
    """
    module = deepcopy(model.module)
    for spec in cuts_to_come:
        channels.prune(module, model.record.input_shape, spec)


def _quantise(job: Job, model: Model, spec: specs.Quantize) -> Model:
    folder = run_folder.checkpoint(job.folder, "quantized")
    depends = {
        "student": model.record.identity(),
        "quantize": spec.model_dump(mode="json"),
        **train.depends_on(job),
    }
    training = job.recipe.training
    job.do(
        "quantized",
        [folder],
        depends,
        lambda: quantized.quantise(model, spec, job.splits, training, folder),
    )
    return checkpoint.load(folder)


def _initial(job: Job, teacher: Model) -> Model:
    """Open a student of its own: another architecture, or a checkpoint that was cut before."""
    spec = job.recipe.student
    folder = run_folder.checkpoint(job.folder, "initial")

    def work() -> None:
        model = teacher
        weights: tuple[str, ...] = ()
        if spec.model is not None:
            with seeded(job.recipe.training.seed):
                model = checkpoint.open_model(
                    spec.model,
                    weights=spec.weights,
                    mean=spec.mean,
                    std=spec.std,
                    classes=len(job.splits.class_names),
                    class_names=job.splits.class_names,
                    input_shape=shape_of(job.splits.train),
                )
            weights = model.record.parents
        cuts.save(model, "initial", teacher, job.splits, job.recipe.training, folder, weights)

    depends = {
        "student": spec.model_dump(mode="json"),
        "weights": train.fingerprint(spec.weights),
        "folder": train.fingerprint(Path(spec.model or "") / "checkpoint.json"),
        "teacher": teacher.record.identity(),
        **train.depends_on(job),
    }
    job.do("initial", [folder], depends, work)
    return checkpoint.load(folder)
