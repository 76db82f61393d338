"""``edgekd sensitivity``: what INT8 costs each layer, and which layers must stay float."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import (
    Classes,
    ImageSize,
    Json,
    Mean,
    Seed,
    Source,
    Std,
    Weights,
)
from edgekd.core import extras

if TYPE_CHECKING:  # records stand on pydantic, which `edgekd --help` need not wait for
    from edgekd.core.sensitivity import Damage, Sensitivity

NAME = "sensitivity"


def command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    data: Source,
    out: Annotated[Path, typer.Option(help="Folder for record, page, target and what is kept.")],
    target: Annotated[
        str, typer.Option(help="Built-in INT8 target, or a path to a .toml file.")
    ] = "tensorrt-int8",
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Search the layers that must stay float.")
    ] = False,
    margin: Annotated[
        float, typer.Option(help="--mixed: largest drop of top-1 against float, in pp.")
    ] = 1.0,
    confidence: Annotated[float, typer.Option(help="--mixed: of the rule, one-sided.")] = 0.95,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="Also all in INT8 but one layer, for each.")
    ] = False,
    images: Annotated[int, typer.Option(min=1, help="Validation images.")] = 2000,
    calibrator: Annotated[str, typer.Option(help="`edgekd list calibrators`.")] = "entropy",
    calibration_images: Annotated[int, typer.Option(min=1, help="Training images.")] = 512,
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Measure what INT8 costs each layer.

    With --mixed, also find few layers that must stay float for the top-1 drop to be below the
    margin, and write mixed.toml, a target with them: status 0 passed, 1 failed, 3 inconclusive.
    What was computed is kept in the folder, so that a second call goes on where this one ended.

    Example:
        edgekd sensitivity student --data folder:flowers --mixed \
            --out sensitivity
    """
    extras.require("torch", "train", "to export a model")
    from edgekd.core import checking, specs
    from edgekd.pipeline import sensitivity, single  # torch: only now

    rule = {"margin": margin, "confidence": confidence}
    found = sensitivity.sensitivity(
        single.ModelArguments(checkpoint, weights, classes, mean, std, image_size),
        data,
        out,
        sensitivity.Settings(
            target,
            images,
            calibrator,
            calibration_images,
            leave_one_out,
            checking.checked(specs.AccuracyRule, rule, "the rule of --mixed") if mixed else None,
            seed,
        ),
        progress=console.progress(),
    )
    if json:
        console.result(found.model_dump(mode="json"))
    else:
        _show(found)
        if found.mixed is not None and found.mixed.state == "passed":
            console.note(f"target: {out / sensitivity.TARGET}")
        console.note(f"page: {out / sensitivity.PAGE}")
    if found.mixed is not None:
        raise typer.Exit(console.STATUS[found.mixed.state])


def _show(found: "Sensitivity") -> None:
    head = ("layer in INT8", "KL (nats)", "relative L2", "largest error", "top-1 drop (pp)")
    rows = [dict(zip(head, head, strict=True))]
    named = [("all", found.everything), *((one.layer, one.alone) for one in found.layers)]
    rows += [dict(zip(head, _cells(*pair), strict=True)) for pair in named]
    console.table(rows)
    if any(one.without for one in found.layers):
        print()
        head = ("all but", *head[1:])
        rows = [dict(zip(head, head, strict=True))]
        rows += [
            dict(zip(head, _cells(one.layer, one.without), strict=True))
            for one in found.layers
            if one.without is not None
        ]
        console.table(rows)
    if found.mixed is not None:
        print(f"{found.mixed.state.upper()}  {found.mixed.message}")


def _cells(name: str, one: "Damage") -> tuple[str, ...]:
    drop = one.drop_pp
    return (
        name,
        f"{one.kl_nats:.2g}",
        f"{one.relative_l2:.2g}",
        f"{one.max_error:.2g}",
        f"{drop.value:.2f} [{drop.low:.2f}, {drop.high:.2f}]",
    )
