"""``edgekd verify``: whether a run is what it was when it ended."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

if TYPE_CHECKING:  # it stands on pydantic, which `edgekd --help` need not wait for
    from edgekd.pipeline.verify import Verification

NAME = "verify"
_STATUS = {"intact": 0, "broken": 2, "unfinished": 3}


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run.")],
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Of manifest.json, as noted when the run ended."),
    ] = None,
    json: Json = False,
) -> None:
    """Check each hash and each parent of a run: status 0, 2 or 3.

    0 intact, 2 broken: it names the first file that is not as it was, and what was made from it;
    3 the run is not finished. Reads files only; needs no torch.

    Example:
        edgekd verify runs/digits/1
    """
    from edgekd.pipeline import verify

    found = verify.verify(run, sha256=sha256)
    if json:
        console.result(asdict(found))
    else:
        _show(found)
    raise typer.Exit(_STATUS[found.state])


def _show(found: "Verification") -> None:
    print(f"{found.state}: {found.files} files checked")
    for fault in found.breaks:
        print(f"{fault.file}: expected {fault.expected}, found {fault.found}")
    if found.affected:
        print(f"made from {found.breaks[0].file}: {', '.join(found.affected)}")
    if found.sha256 is not None:
        print(f"SHA-256 of manifest.json: {found.sha256}")
    for note in found.notes:
        console.note(f"note: {note}")
