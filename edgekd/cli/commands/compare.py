"""``edgekd compare``: set runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

NAME = "compare"


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs.")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write, with charts.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Markdown to write, for a pull request.")
    ] = None,
    json: Json = False,
) -> None:
    """Set runs side by side.

    Shows accuracy, latency, size, and what their recipes differ in. The first run is what the
    others are held against, image by image where the images are the same. Reads records only;
    needs no torch.

    Example:
        edgekd compare runs/digits/1 runs/digits/2 --out compare.html
    """
    from edgekd.core import files
    from edgekd.report import compare, compare_page, compare_text

    opened = compare.read(runs)
    found = compare.compare(opened)
    if out is not None:
        compare_page.write(found, opened, out)
    if markdown is not None:
        files.write_text(markdown, compare_text.markdown(found))
    if json:
        console.result(found.model_dump(mode="json"))
    else:
        compare_text.render(found, console.page())
    if out is not None:
        console.note(f"page: {out}")
