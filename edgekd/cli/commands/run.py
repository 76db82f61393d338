"""``edgekd run``: the whole job."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json, Overrides, Resume
from edgekd.core.errors import EdgekdError, UsageError

NAME = "run"


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Built-in recipe, or a path to a .toml file.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. [default: runs/RECIPE/NUMBER]")
    ] = None,
    overrides: Overrides = None,
    resume: Resume = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Measure latency twice: profile.confirm = true.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show the steps and stop.")] = False,
    json: Json = False,
) -> None:
    """Do the whole job, from the teacher to the verdict.

    Examples:
        edgekd run digits
        edgekd run my.toml --set stages.0.epochs=20 --out runs/a
    """
    from edgekd.core import extras, files, manifest, specs
    from edgekd.pipeline import lookup
    from edgekd.pipeline import plan as planning

    asked = [*(overrides or ()), *(["profile.confirm=true"] if confirm else ())]
    resolved = specs.load(recipe, asked)
    if plan:
        lookup.check(resolved)
        steps = planning.steps(resolved)
        if json:
            console.result(steps)
        else:
            print("\n".join(steps))
        return
    extras.require("torch", "train", "to train and export a model")
    from edgekd.pipeline import run as job  # torch: only now

    name = Path(recipe).stem
    if out is None and "RANK" in os.environ:
        raise UsageError("several processes must agree on a folder: name it with --out")
    folder = out or job.next_folder(Path("runs") / name, resume=resume)
    console.note(f"run: {folder}")
    try:
        found = job.run(resolved, folder, name=name, resume=resume, progress=console.progress())
    except (KeyboardInterrupt, EdgekdError):
        if (folder / "recipe.json").exists():
            again = ["edgekd", "run", recipe, *(f"--set={each}" for each in asked)]
            console.note(f"go on with: {shlex.join([*again, '--out', str(folder), '--resume'])}")
        elif out is None:
            with suppress(OSError):  # another run may have begun in it
                folder.rmdir()
        raise
    assert found.verdict is not None
    if not console.is_first_process():
        raise typer.Exit(console.STATUS[found.verdict.state])
    if json:
        console.result(found.verdict.model_dump(mode="json"))
    else:
        console.show(found)
        console.note(f"report: {folder / 'report.html'}")
        digest = files.sha256_of(folder / manifest.FILE)  # in a CI's log, where nobody changes it
        console.note(f"SHA-256 of manifest.json: {digest}")
    raise typer.Exit(console.STATUS[found.verdict.state])
