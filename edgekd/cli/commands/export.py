"""``edgekd export``: write a checkpoint in the form of a target."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import (
    Classes,
    ImageSize,
    Inventory,
    Json,
    Mean,
    Seed,
    Std,
    Weights,
)
from edgekd.core import extras

if TYPE_CHECKING:
    from edgekd.core.records import Artifact, Parity

NAME = "export"


def command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    target: Annotated[str, typer.Option(help="Built-in target, or a path to a .toml file.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    platform: Annotated[
        str | None,
        typer.Option(help="JetPack of the board, such as jp6.2; `edgekd list platforms`."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Images at a time; 'dynamic', or its bounds fewest:usual:most, as 1:8:32. "
            "[default: the target's]",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Images for parity and INT8 ranges (training split). 'random' is allowed by "
            "name, and stamps the artifact as not valid for accuracy.",
        ),
    ] = None,
    calibrator: Annotated[str, typer.Option(help="`edgekd list calibrators`.")] = "entropy",
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Training images for INT8 ranges.")
    ] = 512,
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    device: Annotated[
        str | None,
        typer.Option(help="Board with TensorRT that also builds the engine, beside the file."),
    ] = None,
    inventory: Inventory = None,
    json: Json = False,
) -> None:
    r"""Write a checkpoint in the form of a target.

    Checks on real images that the file computes the same.

    Examples:
        edgekd export student --target onnx-int8 \
            --calibration folder:flowers --out int8
        edgekd export student --target tensorrt-int8-fp16 --platform jp6.2 \
            --calibration folder:flowers --out jetson --device line-3
    """
    extras.require("torch", "train", "to export a model")
    from edgekd.export.formats import tensorrt  # onnx and torch: only now
    from edgekd.pipeline import build, single

    model = single.ModelArguments(checkpoint, weights, classes, mean, std, image_size)
    artifact = single.export(
        model,
        target,
        out,
        source=calibration,
        calibrator=calibrator,
        images=calibration_images,
        seed=seed,
        platform=platform,
        batch=batch,
        device=device,
        fleet=inventory,
        progress=console.progress(),
    )
    engine = None if device is None else tensorrt.verify(out / build.PLAN)
    if json:
        shown = artifact.model_dump(mode="json")
        console.result(shown | ({"engine": engine.model_dump(mode="json")} if engine else {}))
        return
    print(f"{out / artifact.file}: {artifact.bytes:,} bytes, {_form(artifact)}")
    if artifact.quantised_layers:
        layers = artifact.quantised_layers + artifact.float_layers
        print(f"{artifact.quantised_layers} of {layers} weighted layers compute in INT8")
    print(f"parity on {artifact.parity.images} images: {_parity(artifact.parity)}")
    for note in artifact.notes:
        print(note)
    if engine is not None:
        print(
            f"{out / build.PLAN}: {engine.plan_bytes:,} bytes, {engine.engine}, {engine.gpu.name}"
        )
    elif artifact.target.startswith("tensorrt"):
        print("engine not built: that needs a board with TensorRT, named with --device")
    if artifact.engine_parity is not None:
        print(f"engine against checkpoint: {_parity(artifact.engine_parity.to_checkpoint)}")
        print(f"engine against ONNX Runtime: {_parity(artifact.engine_parity.to_file)}")
    if not artifact.accuracy_valid:
        print("NOT VALID for accuracy: its ranges come from random numbers")


def _parity(found: "Parity") -> str:
    mean = "" if found.mean_error is None else f" (mean {found.mean_error:.2g})"
    return (
        f"{found.state}, relative error {found.relative_error:.2g} of {found.tolerance:g}, "
        f"largest {found.max_error:.2g}{mean}, cosine {found.cosine:.4f}, "
        f"same top-1 for {found.top1_agreement_ratio:.1%}"
    )


def _form(artifact: "Artifact") -> str:
    """Say in which opset it is written, for whom, and for how many images at a time."""
    words = [f"opset {artifact.opset}"]
    if artifact.platform:
        words.append(f"for {artifact.platform} ({artifact.typing} typing)")
    for name, sizes in artifact.profiles.items():
        counts = ", ".join(str(found[0]) for found in (sizes.min, sizes.opt, sizes.max))
        words.append(f"{counts} {name} at a time (fewest, usual, most)")
    return ", ".join(words)
