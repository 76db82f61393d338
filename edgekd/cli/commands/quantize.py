"""``edgekd quantize``: let a network compute with few values, for training and for studies."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Classes, ImageSize, Json, Mean, Seed, Std, Weights
from edgekd.core import extras

NAME = "quantize"


def command(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    bits: Annotated[
        str, typer.Option(metavar="WxAy", help="Weights, activations: 1, 2, 4, 8, 32.")
    ] = "W8A8",
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Images, for all but A32.")
    ] = None,
    rule: Annotated[
        str, typer.Option(help="edgekd, or faqd: as in its published code.")
    ] = "edgekd",
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Layers that stay in float. Repeatable."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="Whose INT8 is simulated at 8 bits, such as tensorrt-int8."),
    ] = None,
    calibrator: Annotated[
        str | None,
        typer.Option(help="Of first 8-bit steps. [default: least squared error]"),
    ] = None,
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Simulate quantisation, to train a network for it.

    For INT8 on a device `edgekd export` is often enough; where it loses too much, quantise for its
    target and finetune: the export then takes the scales of training. Under 8 bits a network is for
    study only: it can be trained and evaluated, not exported.

    Example:
        edgekd quantize pruned --target tensorrt-int8 \
            --data folder:flowers --out w8a8
    """
    extras.require("torch", "train", "to quantise a model")
    from edgekd.core import checking, specs
    from edgekd.pipeline import single  # torch: only now
    from edgekd.quantize import qat

    weight_bits, activation_bits = qat.parse_bits(bits)
    spec = checking.checked(
        specs.Quantize,
        {
            "weights": weight_bits,
            "activations": activation_bits,
            "rule": rule,
            "keep": tuple(keep or ()),
            "target": target,
            "calibrator": calibrator,
        },
        "quantize",
    )
    model = single.ModelArguments(student, weights, classes, mean, std, image_size)
    record = single.quantise(model, spec, data, out, seed=seed)
    if json:
        console.result(record.model_dump(mode="json"))
        return
    shown = console.right(record.validation_top1_percent)
    print(f"{out}: {bits}, {record.parameters:,} parameters{shown}")
