"""The student before it is taught: pruned and recalibrated, or another architecture."""

from copy import deepcopy
from pathlib import Path

from edgekd.core import provenance, run_folder, specs
from edgekd.data.sources import Splits
from edgekd.models import checkpoint, score
from edgekd.models.checkpoint import Model
from edgekd.pipeline import train
from edgekd.pipeline.job import Job, device_of, seeded, shape_of
from edgekd.prune import channels


def make(job: Job, teacher: Model) -> Model:
    """Do the steps that give the student's first checkpoints, and return the last of them."""
    spec = job.recipe.student
    training = job.recipe.training
    if spec.prune is None or spec.model is not None:
        return _initial(job, teacher)
    prune = spec.prune
    pruned = run_folder.checkpoint(job.folder, "pruned")
    depends = {
        "teacher": teacher.record.identity(),
        "prune": prune.model_dump(mode="json", exclude={"recalibrate_images"}),
        **train.depends_on(job),
    }
    job.do("pruned", [pruned], depends, lambda: cut(teacher, prune, job.splits, training, pruned))
    model = checkpoint.load(pruned)
    if not prune.recalibrate_images:
        return model
    fresh = run_folder.checkpoint(job.folder, "recalibrated")
    depends = {
        "pruned": model.record.identity(),
        "images": prune.recalibrate_images,
        **train.depends_on(job),
    }
    count = prune.recalibrate_images
    job.do(
        "recalibrated",
        [fresh],
        depends,
        lambda: recalibrate(model, count, job.splits, training, fresh),
    )
    return checkpoint.load(fresh)


def cut(
    teacher: Model,
    spec: specs.Prune,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
) -> None:
    """Prune a copy of the teacher and write it as it is: its BN statistics are stale."""
    module = deepcopy(teacher.module)
    surgery = channels.prune(
        module, teacher.record.input_shape, spec, surgery_so_far=teacher.surgery
    )
    pruned = Model(module, teacher.record, surgery, None)
    save(pruned, "pruned", teacher, splits, training, folder)


def recalibrate(
    model: Model, count: int, splits: Splits, training: specs.Training, folder: Path
) -> None:
    """Take the BN statistics anew from ``count`` training images, and write the result."""
    module = deepcopy(model.module)
    score.recalibrate(
        module,
        splits.train,
        model.record.normalisation,
        count=count,
        seed=training.seed,
        device=device_of(training),
    )
    fresh = Model(module, model.record, model.surgery, None)
    save(fresh, "recalibrated", model, splits, training, folder)


def save(
    model: Model,
    stage: str,
    parent: Model,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
) -> None:
    """Write a student with its size and, where there are images, its validation accuracy."""
    parameters, macs = checkpoint.count(model.module, model.record.input_shape)
    top1 = None
    if splits is not None:
        top1 = score.top1_percent(
            model.module,
            splits.validation,
            model.record.normalisation,
            device=device_of(training),
        )
    changes = {
        "stage": stage,
        "provenance": provenance.stamp("torch", "torch-pruning", seed=training.seed),
        "parents": (parent.record.weights_sha256,),
        "parameters": parameters,
        "macs": macs,
        "data": splits.identity() if splits is not None else model.record.data,
        "validation_top1_percent": top1,
    }
    checkpoint.save(folder, model.module, model.record.model_copy(update=changes), model.surgery)


def _initial(job: Job, teacher: Model) -> Model:
    """Open a student of its own: another architecture, or a checkpoint that was cut before."""
    spec = job.recipe.student
    folder = run_folder.checkpoint(job.folder, "initial")

    def work() -> None:
        model = teacher
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
        save(model, "initial", teacher, job.splits, job.recipe.training, folder)

    depends = {
        "student": spec.model_dump(mode="json"),
        "weights": train.fingerprint(spec.weights),
        "folder": train.fingerprint(Path(spec.model or "") / "checkpoint.json"),
        "teacher": teacher.record.identity(),
        **train.depends_on(job),
    }
    job.do("initial", [folder], depends, work)
    return checkpoint.load(folder)
