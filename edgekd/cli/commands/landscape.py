"""``edgekd landscape``: how flat or sharp the loss is around checkpoints."""

import re
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import ImageSize, Json, Seed, Source
from edgekd.core import extras
from edgekd.core.errors import UsageError

NAME = "landscape"


def command(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CHECKPOINT", help="Checkpoint folders.")
    ],
    data: Source,
    out: Annotated[Path, typer.Option(help="Folder for landscape.json and landscape.html.")],
    points: Annotated[int, typer.Option(help="Along each axis; odd.")] = 21,
    reach: Annotated[
        float, typer.Option("--range", help="Of each axis, in filter norms, on both sides.")
    ] = 1.0,
    images: Annotated[int, typer.Option(min=1, help="Training images.")] = 2000,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A:B",
            help="Go from the A-th checkpoint to the B-th. Repeatable. [default: every pair of "
            "equal shapes]",
        ),
    ] = None,
    no_plane: Annotated[
        bool, typer.Option("--no-plane", help="Leave the plane out: points squared losses.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Look how flat the loss is around checkpoints.

    The loss is cross-entropy on the same training images for all. It is also followed on the
    straight way between checkpoints.

    Example:
        edgekd landscape runs/digits/1/checkpoints/recalibrated \
            runs/digits/1/checkpoints/deep --data digits --out landscape
    """
    extras.require("torch", "train", "to look at a loss")
    from edgekd.pipeline import landscape  # torch: only now

    found = landscape.landscape(
        checkpoints,
        data,
        out,
        settings=landscape.Settings(points, reach, images, seed, not no_plane, device, image_size),
        pairs=None if not path else [_pair(text) for text in path],
        progress=console.progress(),
    )
    if json:
        console.result(found.model_dump(mode="json"))
        return
    for terrain in found.terrains:
        bend = terrain.curvature
        print(
            f"{terrain.subject}: loss {terrain.loss:.4g}, top eigenvalue {bend.top_eigenvalue:.4g}"
            f"{'' if bend.converged else ' (not settled)'}, trace {bend.trace:.4g} +- "
            f"{bend.trace_error:.2g}, sharpness {bend.sharpness:.4g}"
        )
    for passage in found.passages:
        print(f"{passage.start} to {passage.end}: barrier {passage.barrier:.4g}")
    console.note(f"page: {out / landscape.PAGE}")


def _pair(text: str) -> tuple[int, int]:
    """Read "1:2"; the numbers are from 1."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if match is None:
        raise UsageError(f"--path takes numbers of checkpoints, as in 1:2, found '{text}'")
    return int(match[1]) - 1, int(match[2]) - 1
