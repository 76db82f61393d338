"""``edgekd evaluate``: how many images a model classifies rightly."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import (
    Classes,
    Device,
    ImageSize,
    Inventory,
    Json,
    Mean,
    Source,
    Std,
    Weights,
)

NAME = "evaluate"


class Split(StrEnum):
    """The sets of a source."""

    test = "test"
    validation = "validation"
    train = "train"


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Checkpoint folder, model spec, .onnx or .plan.")
    ],
    data: Source,
    out: Annotated[
        Path | None, typer.Option(help="Record to write (.json); predictions lie beside it.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    device: Device = "host-cpu",
    inventory: Inventory = None,
    json: Json = False,
) -> None:
    r"""Classify the images of one split, image by image.

    A .plan runs on the board that built it, or one like it.

    Examples:
        edgekd evaluate runs/digits/1/artifacts/onnx-int8/model.onnx \
            --data digits
        edgekd evaluate jetson/model.plan --data folder:flowers \
            --device line-3 --out accuracy.json
    """
    from edgekd.pipeline import measure

    record = measure.evaluate(
        model,
        data,
        split.value,
        out,
        options=measure.Options(
            weights,
            classes,
            mean,
            std,
            image_size,
            device,
            inventory,
        ),
        progress=console.progress(),
    )
    if json:
        console.result(record.model_dump(mode="json"))
        return
    top1 = record.top1_percent
    print(
        f"top-1 {top1.value:.2f} % [{top1.low:.2f}, {top1.high:.2f}] at {top1.confidence:.0%}: "
        f"{record.correct} of {record.images} {record.split} images"
    )
