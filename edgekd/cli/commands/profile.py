"""``edgekd profile``: measure latency."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Device, Inventory, Json

NAME = "profile"


def command(
    model: Annotated[Path, typer.Argument(help="An .onnx file.")],
    out: Annotated[Path, typer.Option(help="Folder to write the measurement to.")],
    against: Annotated[
        Path | None, typer.Option(help="Another .onnx file, measured in turns with the first.")
    ] = None,
    device: Device = "host-cpu",
    inventory: Inventory = None,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    blocks: Annotated[int, typer.Option(min=6, help="Turns that each model takes.")] = 20,
    runs: Annotated[int, typer.Option(min=1, help="Timed inferences in a turn.")] = 30,
    energy: Annotated[
        bool, typer.Option("--energy", help="Energy of an inference, too; status 3 without one.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure latency in a clean process, here or on a board.

    With --against the two take turns, and the ratio gets an interval.

    Example: edgekd profile student.onnx --against teacher.onnx --out profile
    """
    from edgekd.core import checking, specs
    from edgekd.core.errors import InconclusiveError
    from edgekd.pipeline import measure

    wanted = {"device": device, "batch": batch, "threads": threads, "blocks": blocks, "runs": runs}
    wanted["energy"] = energy
    spec = checking.checked(specs.Profile, wanted, "profile")
    record = measure.profile(
        model, against, spec, out, progress=console.progress(), fleet=inventory
    )
    if json:
        console.result(record.model_dump(mode="json"))
    else:
        console.measurement(record)
    if record.energy is not None and record.energy.missing is not None:
        raise InconclusiveError(f"no energy: {record.energy.missing}")
