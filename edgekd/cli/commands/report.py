"""``edgekd report``: show a run."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console

NAME = "report"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write. [default: report.html in the run]")
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Show no test images: for those who may not.")
    ] = False,
) -> None:
    """Show a run, and write it as one HTML file.

    Example:
        edgekd report runs/digits/1 --out digits.html
    """
    from edgekd.core import run_folder
    from edgekd.report import html

    found = run_folder.read(run)
    if no_images:
        found = replace(found, examples=None)
    path = out or run / "report.html"
    html.write(found, path)
    console.show(found)
    console.note(f"report: {path}")
