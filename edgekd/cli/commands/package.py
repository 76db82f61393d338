"""``edgekd package``: a run's model as one archive."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

NAME = "package"


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Archive to write: .zip.")],
    target: Annotated[
        str | None, typer.Option(help="What was exported. [default: the only one]")
    ] = None,
    json: Json = False,
) -> None:
    """Hand a model on as one archive that checks itself.

    It holds the model, golden pairs, records and verify.py, which needs numpy and onnxruntime
    alone. The same run gives the same bytes; one that `edgekd verify` finds broken is refused.

    Example:
        edgekd package runs/digits/1 --target onnx-int8 --out digits.zip
    """
    from edgekd.pipeline import package

    found = package.package(run, out, target)
    if json:
        console.result(asdict(found))
        return
    print(f"{found.file}: {found.target}, {found.bytes:,} bytes, {len(found.names)} files")
    print(f"SHA-256 of the archive: {found.sha256}")
    print(f"SHA-256 of manifest.json: {found.manifest_sha256}")
