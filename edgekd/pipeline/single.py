"""One verb at a time, on files: what ``edgekd prune``, ``finetune`` and ``export`` do."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.core import recipe_files, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.data import sources
from edgekd.data.sources import Splits
from edgekd.export.platform import Platform
from edgekd.export.target import Target
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts, build, cuts, preflight, quantized, stages, student, teacher
from edgekd.pipeline import job as jobs
from edgekd.pipeline.plan import named


@dataclass(frozen=True)
class ModelArguments:
    """A model as it is named on the command line."""

    name: str  # a checkpoint folder, or a model spec
    weights: Path | None = None
    classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: int | None = None

    def as_spec(self) -> dict[str, Any]:
        """Return what a recipe's [teacher] or [student] says of it."""
        weights = None if self.weights is None else str(self.weights)
        spec: dict[str, Any] = {"model": self.name, "weights": weights}
        # The options are about networks that are built anew; a checkpoint brings its own.
        if checkpoint.stored_size(self.name) is None:
            spec |= {"mean": self.mean, "std": self.std}
        return spec

    def open(self, splits: Splits | None) -> Model:
        """Open it, with the classes and the shape of the images where there are any."""
        shape = jobs.shape_of(splits.train) if splits else None
        if splits is None and self.image_size is not None:
            shape = checkpoint.shape_at(self.name, self.image_size)
        return checkpoint.open_model(
            self.name,
            weights=self.weights,
            classes=self.classes,
            class_names=splits.class_names if splits and self.classes is None else None,
            mean=self.mean,
            std=self.std,
            input_shape=shape,
        )


def prune(
    arguments: ModelArguments, spec: specs.Prune, source: str | None, out: Path, *, seed: int
) -> records.Checkpoint:
    """Prune a model into a new checkpoint folder; with images, its BN statistics are taken anew."""
    _must_be_free(out)
    splits = load(source, arguments, seed) if source else None
    model = arguments.open(splits)
    training = specs.Training(seed=seed)
    cuts.prune(model, spec, splits, training, out)
    if splits is not None and spec.recalibrate_images:
        pruned = checkpoint.load(out)
        cuts.recalibrate(pruned, spec.recalibrate_images, splits, training, out)
    return checkpoint.load(out).record


def quantise(
    arguments: ModelArguments, spec: specs.Quantize, source: str | None, out: Path, *, seed: int
) -> records.Checkpoint:
    """Quantise a model into a new checkpoint folder; activations need images."""
    _must_be_free(out)
    splits = load(source, arguments, seed) if source else None
    quantized.quantise(arguments.open(splits), spec, splits, specs.Training(seed=seed), out)
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
    for override in overrides:
        if override.startswith(("teacher.", "student.", "data.source", "data.image_size")):
            raise UsageError(f"--set {override}: say it with the command's own arguments")
    tree = recipe_files.tree(recipe, overrides)
    if not tree.get("stages"):
        raise UsageError(f"recipe '{recipe}' has no [[stages]], so there is nothing to do")
    if tree.get("control"):
        raise UsageError("control = true compares two students on test images: use `edgekd run`")
    tree["data"] = {**tree.get("data", {}), "source": source}
    if student_arguments.image_size is not None:
        tree["data"]["image_size"] = student_arguments.image_size
    tree["teacher"] = teacher_arguments.as_spec() | {"classes": teacher_arguments.classes}
    tree["student"] = student_arguments.as_spec()
    mine = specs.parse(tree, recipe)
    preflight.check_stages(mine)
    with jobs.start(mine, out, recipe, resume=resume, progress=progress) as job:
        model = teacher.make(job)
        result = stages.run(job, named(mine.stages), student.make(job, model), model)
        assert result.folder is not None
        last = result.folder
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
    platform: str | None = None,
    batch: str | None = None,
    device: str | None = None,
    fleet: Path | None = None,
    progress: Progress | None = None,
) -> records.Artifact:
    """Export a model to one target; parity and ranges are taken from the training images.

    With ``device``, that board builds the engine, and runs it on the same images. What fails leaves
    nothing in ``out``, so that the same call can be made again.
    """
    _must_be_free(out)
    wanted = Target.read(target) if batch is None else Target.read(target).at_batch(batch)
    board = Platform.read(platform) if platform else None
    if board is not None:
        board.shape(wanted)  # what it refuses, it refuses before images are read
    site = None if device is None else build.survey(device, wanted, board, fleet)
    splits = None if source in {None, "random"} else load(str(source), arguments, seed)
    model = arguments.open(splits)
    spec = specs.Export(targets=(target,), calibrator=calibrator, calibration_images=images)
    shown = splits.train if splits else None
    with _all_or_nothing(out):
        artifact = artifacts.export(
            model, wanted, spec, shown, out, seed=seed, random=source == "random", platform=board
        )
        if site is None:
            return artifact
        return build.build(
            site, wanted, artifact, out, model=model, images=shown, seed=seed, progress=progress
        )


def load(source: str, arguments: ModelArguments, seed: int) -> Splits:
    """Open images; pictures in folders get the size that the model says, if it says one."""
    size = arguments.image_size
    if size is None and source.startswith("folder:"):
        size = checkpoint.stored_size(arguments.name)
    return sources.load(specs.Data(source=source, image_size=size), seed=seed)


@contextlib.contextmanager
def _all_or_nothing(out: Path) -> Iterator[None]:
    """Leave a free folder as it was found if something fails."""
    there = out.exists()
    try:
        yield
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        if there:
            out.mkdir(exist_ok=True)
        raise


def _must_be_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"'{out}' is a file: name a folder with --out")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"'{out}' is not empty: name another folder with --out")
