"""One verb at a time, on files: what ``edgekd prune``, ``finetune`` and ``export`` do."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.core import records, run_folder, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.data import sources
from edgekd.data.sources import Splits
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts, student, teacher, train
from edgekd.pipeline import job as jobs
from edgekd.pipeline.plan import stage_names


@dataclass(frozen=True)
class ModelArguments:
    """A model as it is named on the command line."""

    name: str  # a checkpoint folder, or a model spec
    weights: Path | None = None
    classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None

    def open(self, splits: Splits | None) -> Model:
        """Open it, with the classes and the shape of the images where there are any."""
        return checkpoint.open_model(
            self.name,
            weights=self.weights,
            classes=self.classes,
            class_names=splits.class_names if splits and self.classes is None else None,
            mean=self.mean,
            std=self.std,
            input_shape=jobs.shape_of(splits.train) if splits else None,
        )


def prune(
    arguments: ModelArguments, spec: specs.Prune, source: str | None, out: Path, *, seed: int
) -> records.Checkpoint:
    """Prune a model into a new checkpoint folder; with images, its BN statistics are taken anew."""
    _must_be_free(out)
    splits = _load(source, arguments.image_size, seed) if source else None
    model = arguments.open(splits)
    training = specs.Training(seed=seed)
    student.cut(model, spec, splits, training, out)
    if splits is not None and spec.recalibrate_images:
        pruned = checkpoint.load(out)
        student.recalibrate(pruned, spec.recalibrate_images, splits, training, out)
    return checkpoint.load(out).record


def finetune(
    student_arguments: ModelArguments,
    teacher_arguments: ModelArguments,
    recipe: str,
    source: str,
    out: Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    progress: Progress | None = None,
) -> records.Checkpoint:
    """Run the stages of a recipe on a student; the last checkpoint is copied to ``out`` itself."""
    written = specs.load(recipe, overrides)
    if not written.stages:
        raise UsageError(f"recipe '{recipe}' has no [[stages]], so there is nothing to do")
    data = written.data.model_copy(
        update={"source": source, "image_size": student_arguments.image_size}
    )
    mine = written.model_copy(
        update={
            "data": data,
            "teacher": specs.Teacher(
                model=teacher_arguments.name,
                weights=teacher_arguments.weights,
                classes=teacher_arguments.classes,
                mean=teacher_arguments.mean,
                std=teacher_arguments.std,
            ),
            "student": specs.Student(
                model=student_arguments.name, weights=student_arguments.weights
            ),
        }
    )
    with jobs.start(mine, out, recipe, resume=resume, progress=progress) as job:
        model = teacher.make(job)
        train.run_stages(job, student.make(job, model), model)
        last = run_folder.checkpoint(out, stage_names(mine.stages)[-1])
        if job.workers.main:
            for file in last.iterdir():
                shutil.copyfile(file, out / file.name)
        job.workers.wait()
    return checkpoint.load(out).record


def export(
    arguments: ModelArguments,
    target: str,
    out: Path,
    *,
    source: str | None,
    calibrator: str,
    images: int,
    seed: int,
) -> records.Artifact:
    """Export a model to one target; parity and ranges are taken from the training images."""
    _must_be_free(out)
    splits = None if source in {None, "random"} else _load(str(source), arguments.image_size, seed)
    model = arguments.open(splits)
    spec = specs.Export(targets=(target,), calibrator=calibrator, calibration_images=images)
    wanted = Target.read(target)
    return artifacts.export(
        model,
        wanted,
        spec,
        splits.train if splits else None,
        out,
        seed=seed,
        random=source == "random",
    )


def _load(source: str, image_size: int | None, seed: int) -> Splits:
    return sources.load(specs.Data(source=source, image_size=image_size), seed=seed)


def _must_be_free(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"'{out}' is not empty: name another folder with --out")
