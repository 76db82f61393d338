"""``edgekd prune``: cut channels out of a network."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Classes, ImageSize, Json, Mean, Seed, Std, Weights
from edgekd.core import extras

NAME = "prune"


def command(
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="TEACHER", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    macs: Annotated[float, typer.Option(help="Share of the MACs that is left.")] = 0.5,
    criterion: Annotated[str, typer.Option(help="`edgekd list criteria`.")] = "l1",
    round_to: Annotated[int, typer.Option(min=1, help="Channels stay a multiple of it.")] = 8,
    scope: Annotated[str, typer.Option(help="all, or interior: inside the blocks only.")] = "all",
    spread: Annotated[str, typer.Option(help="uniform, or global: one ranking.")] = "uniform",
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Images to take the BN statistics anew.")
    ] = None,
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Cut channels out of a network.

    With --data the BN statistics are taken anew, which is worth tens of points.

    Example:
        edgekd prune torchvision:resnet18 --weights r18.pth --macs 0.5 \
            --data folder:flowers --out pruned
    """
    extras.require("torch", "train", "to prune a model")
    from edgekd.core import checking, specs
    from edgekd.pipeline import single  # torch: only now

    spec = checking.checked(
        specs.Prune,
        {
            "macs": macs,
            "criterion": criterion,
            "round_to": round_to,
            "scope": scope,
            "spread": spread,
        },
        "prune",
    )
    model = single.ModelArguments(teacher, weights, classes, mean, std, image_size)
    record = single.prune(model, spec, data, out, seed=seed)
    if json:
        console.result(record.model_dump(mode="json"))
        return
    shown = console.right(record.validation_top1_percent)
    print(f"{out}: {record.macs / 1e6:.2f} M MACs, {record.parameters:,} parameters{shown}")
