"""``edgekd explain-int8``: why an INT8 engine is not faster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Json

if TYPE_CHECKING:  # `edgekd --help` need not wait for it
    from edgekd.profile.causes import Row
    from edgekd.profile.explain import Explanation

NAME = "explain-int8"
_WIDTH = 44


def command(
    layers: Annotated[
        Path, typer.Argument(metavar="LAYERS.json", help="From trtexec --exportLayerInfo.")
    ],
    profile: Annotated[
        Path, typer.Argument(metavar="PROFILE.json", help="From trtexec --exportProfile.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.onnx", help="What was built: tells why layers run in float."),
    ] = None,
    times: Annotated[
        Path | None,
        typer.Option(metavar="TIMES.json", help="From trtexec --exportTimes: whole inferences."),
    ] = None,
    viewer: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write files for NVIDIA's engine viewer (trex)."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Layers to show, longest first.")] = 15,
    json: Json = False,
) -> None:
    r"""Say why a TensorRT engine is not faster in INT8.

    The verdict comes first, then the longest layers, then what to do. Reads files of TensorRT 8.5
    to 11; needs neither a GPU nor TensorRT. Build with --profilingVerbosity=detailed, else the
    files hold names only.

    Example:
        edgekd explain-int8 layers.json profile.json \
            --model int8/model.onnx
    """
    from dataclasses import asdict

    from edgekd.profile import explain
    from edgekd.profile import viewer as files

    found = explain.explain(layers, profile, model, times)
    if viewer is not None:
        graph, _ = files.write(layers, profile, viewer)
        console.note(f"for trex: {graph} and the profile beside it")
    if json:
        console.result(asdict(found))
    else:
        _show(found, top)


def _show(found: "Explanation", top: int) -> None:
    print(f"{found.verdict}\n")
    head = ("ms", "share", "type", "what", "layer", "summary")
    rows = [{**dict(zip(head, head, strict=True)), "summary": "note"}]
    rows += [dict(zip(head, _cells(row), strict=True)) for row in found.rows[:top]]
    console.table(rows)
    left = found.rows[top:]
    if left:
        share = sum(row.share for row in left)
        console.note(f"and {len(left)} shorter layers, {share:.1%} of the time (--top shows them)")
    if found.causes:
        print("\nWhat to do:")
    for number, cause in enumerate(found.causes, 1):
        print(f"{number}. {cause.share:.1%} of the time: {cause.finding}.\n   {cause.action}.")
    for note in found.notes:
        console.note(f"note: {note}")


def _cells(row: "Row") -> tuple[str, ...]:
    name = " + ".join(row.modules) or row.layer
    short = name if len(name) <= _WIDTH else f"{name[: _WIDTH - 3]}..."
    moves = row.role in {"reformat", "quantise"}  # their types stand in the note
    kind = "" if moves else row.precision or "?"
    return f"{row.ms:.4f}", f"{row.share:.1%}", kind, row.role, short, row.note
