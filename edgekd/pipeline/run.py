"""The whole job, from the teacher to the verdict."""

import contextlib
import shutil
from pathlib import Path

from edgekd.core import files, run_folder
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.core.specs import Recipe
from edgekd.pipeline import (
    artifacts,
    control,
    judge,
    on_board,
    plan,
    preflight,
    stages,
    student,
    teacher,
)
from edgekd.pipeline import job as jobs
from edgekd.pipeline.job import Job
from edgekd.pipeline.plan import named


def run(
    recipe: Recipe,
    folder: Path,
    *,
    name: str,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Do every step of a recipe in ``folder`` and return the records.

    Args:
        recipe: what to do.
        folder: where; empty or missing, or an unfinished run with ``resume``.
        name: of the recipe, for people.
        resume: go on with what is there.
        progress: who listens; default: nobody.

    Raises:
        EdgekdError: see ``edgekd.core.errors``; the folder can be resumed.
    """
    preflight.check(recipe)
    with jobs.start(recipe, folder, name, resume=resume, progress=progress) as job:
        if job.workers.main:
            forget_others(job)
        job.workers.wait()
        model = teacher.make(job)
        artifacts.export_teacher(job, model)  # what cannot be exported fails before training
        first = student.make(job, model)
        final = stages.run(job, named(recipe.stages), first, model)
        control.run_stages(job, first)
        artifacts.export_student(job, final)
        judge.evaluate_all(job)
        judge.measure(job)
        on_board.evaluate_all(job, final)
        judge.conclude(job)
    return run_folder.read(folder)


def forget_others(job: Job) -> None:
    """Remove what an earlier recipe left in the folder and this one does not ask for."""
    checkpoints = {*plan.checkpoints(job.recipe), *plan.control_checkpoints(job.recipe)}
    artifacts = {REFERENCE, *plan.rivals(job.recipe), *plan.students(job.recipe)}
    wanted = {"checkpoints": checkpoints, "artifacts": artifacts}
    engines = on_board.targets(job.recipe)
    wanted["accuracy"] = checkpoints | artifacts | {run_folder.engine(name) for name in engines}
    for part, names in wanted.items():
        for path in (job.folder / part).glob("*"):
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)
            elif path.is_file() and path.stem not in names:
                path.unlink()
    for name in artifacts.difference(engines):
        for path in [*on_board.files_of(job.folder, name), on_board.record_of(job.folder, name)]:
            path.unlink(missing_ok=True)
    for name in list(job.steps):
        if not all((job.folder / path).exists() for path in job.steps[name].outputs):
            job.forget(name)


def next_folder(base: Path, *, resume: bool) -> Path:
    """Return ``base/1``, ``base/2`` ...: the next that is free, or the latest to resume.

    Raises:
        UsageError: there is none to resume.
        EnvironmentMissingError: the folder cannot be made.
    """
    taken = sorted(int(path.name) for path in base.glob("*") if path.name.isdigit())
    if resume:
        if not taken:
            raise UsageError(f"there is no run to resume in '{base}': name its folder with --out")
        return base / str(taken[-1])
    number = taken[-1] + 1 if taken else 1
    while True:  # another run that starts now takes another number
        with contextlib.suppress(FileExistsError):
            files.make_folder(base / str(number), new=True)
            return base / str(number)
        number += 1
