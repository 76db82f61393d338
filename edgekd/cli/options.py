"""Options that several commands share."""

import math
from pathlib import Path
from typing import Annotated

import typer


class Channels(tuple[float, ...]):
    """A number for each channel of an image."""

    __slots__ = ()


def _channels(text: str) -> Channels:
    """Read "0.485,0.456,0.406"."""
    try:
        found = Channels(float(part) for part in text.split(","))
    except ValueError:
        found = Channels((math.nan,))
    if not all(map(math.isfinite, found)):
        raise typer.BadParameter(f"expected numbers, as in 0.485,0.456,0.406, found '{text}'")
    return found


Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Device = Annotated[str, typer.Option(help="host-cpu, or a board of the inventory.")]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="host-cpu, a board of the inventory, label:WORD for all that have it, or a kind of "
        "board for an estimate. Repeatable. [default: host-cpu]",
    ),
]
Inventory = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Boards. [default: ~/.config/edgekd/devices.toml]"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]
Source = Annotated[
    str,
    typer.Option(metavar="SOURCE", help="Images: see `edgekd list sources`."),
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights of a model spec: .safetensors, .pt or .pth."),
]
Classes = Annotated[
    int | None, typer.Option(min=1, help="Classes of a model spec. [default: as in the data]")
]
Mean = Annotated[
    Channels | None,
    typer.Option(
        metavar="R,G,B", parser=_channels, help="Of pixels in [0, 1]. [default: the family's]"
    ),
]
Std = Mean
ImageSize = Annotated[int | None, typer.Option(min=1, help="Pixels, square. [folder: 224]")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything that is drawn.")]
