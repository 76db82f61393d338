"""``edgekd reproduce``: do a run again and compare."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

NAME = "reproduce"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new run. [default: RUN_DIR-again]")
    ] = None,
    json: Json = False,
) -> None:
    """Do a run again and compare: status 0, 1 or 3.

    It follows the run's own recipe. 0 the same: bit by bit where that must be, else within the
    gate's margin; 1 different; 3 the images are too few to tell, or a latency was too noisy.

    Example:
        edgekd reproduce runs/digits/1
    """
    from edgekd.core import extras

    extras.require("torch", "train", "to train and export a model")
    from edgekd.pipeline import reproduce  # torch: only now

    folder = out or run.with_name(f"{run.resolve().name}-again")
    found = reproduce.reproduce(run, folder, progress=console.progress())
    if json:
        console.result(asdict(found))
        raise typer.Exit(console.STATUS[found.state])
    for difference in found.environment:
        print(f"not as it was: {difference}")
    asked = "bit by bit" if found.must_be_equal else "within the gate's margin"
    print(f"asked for: the same {asked}")
    for one in found.comparisons:
        print(f"{one.state.upper():<12} {one.subject}: {one.message}")
    print(f"reproduced: {found.state}")
    console.note(f"new run: {found.folder}")
    raise typer.Exit(console.STATUS[found.state])
