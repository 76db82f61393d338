"""``edgekd calibration``: whether images and calibrator suit a network."""

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
    from edgekd.core.calibration import Checkup, Choice, Seen

NAME = "calibration"
_COLUMNS = ("calibrator", "distance", "same top-1", "drop of top-1", "halves differ by")


def command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    data: Source,
    target: Annotated[
        str, typer.Option(help="Built-in INT8 target, or a path to a .toml file.")
    ] = "tensorrt-int8",
    calibration_images: Annotated[
        int, typer.Option(min=2, help="Training images to calibrate on.")
    ] = 512,
    evaluated: Annotated[
        int, typer.Option("--validation-images", min=1, help="To compare calibrators on.")
    ] = 512,
    strict: Annotated[bool, typer.Option("--strict", help="End with status 1 on a finding.")] = (
        False
    ),
    weights: Weights = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Examine a calibration, and compare all calibrators.

    It looks at the images and at the range of each tensor.

    The images are those that `edgekd export` calibrates on with the same seed. Nothing is written.

    Example:
        edgekd calibration student --data folder:flowers \
            --target onnx-int8
    """
    extras.require("torch", "train", "to calibrate a model")
    from edgekd.export.target import Target
    from edgekd.pipeline import calibration, single  # torch: only now

    model = single.ModelArguments(checkpoint, weights, classes, mean, std, image_size)
    splits = single.load(data, model, seed)
    found = calibration.examine(
        model.open(splits),
        Target.read(target),
        splits,
        data,
        images=calibration_images,
        evaluated=evaluated,
        seed=seed,
        progress=console.progress(),
    )
    if json:
        console.result(found.model_dump(mode="json"))
    else:
        _show(found, calibration_images)
    if strict and found.findings:
        raise typer.Exit(1)


def _show(found: "Checkup", asked: int) -> None:
    counts = found.images_by_class.values()
    print(
        f"{found.images} training images of {found.source}, {min(counts)} to {max(counts)} of each "
        f"of {len(counts)} classes; {found.test_images} are test images, "
        f"{found.validation_images} validation images"
    )
    if found.trained_ranges:
        print(f"{found.trained_ranges} ranges come from training and are left alone")
    names = [choice.calibrator for choice in found.choices]
    print("\nthreshold of each tensor, and the share of its values beyond\n")
    console.table([_titles("tensor", *names), *(_ranges(seen, names) for seen in found.tensors)])
    print(f"\non {found.evaluated_images} validation images, against the float network\n")
    console.table([_titles(*_COLUMNS), *(_compared(choice) for choice in found.choices)])
    print()
    for finding in found.findings:
        print(f"finding: {finding}")
    best = next(one for one in found.choices if one.calibrator == found.recommended)
    if found.enough:
        print(
            f"{found.images} images are enough: no scale of one half of them differs from the "
            f"other's by more than {best.largest_move_percent:.1f} %"
        )
    else:
        print(f"{found.images} images are not enough: see the findings")
    more = not found.enough and found.images == asked  # fewer than asked: there are no more
    count = 2 * found.images if more else found.images
    print(f"recommended: --calibrator {best.calibrator} --calibration-images {count}")


def _titles(*columns: str) -> dict[str, str]:
    return {column: column for column in columns}


def _ranges(seen: "Seen", names: list[str]) -> dict[str, str]:
    row = {"tensor": seen.tensor}
    for name in names:
        low, high = seen.low_high[name]
        row[name] = f"{max(-low, high):.4g} {seen.clipped_ratio[name]:.2%}"
    return row


def _compared(choice: "Choice") -> dict[str, str]:
    drop = choice.drop_pp
    cells = (
        choice.calibrator,
        f"{choice.relative_l2:.4f}",
        f"{choice.top1_agreement_ratio:.1%}",
        f"{drop.value:.2f} pp ({drop.low:.2f} to {drop.high:.2f})",
        f"{choice.median_move_percent:.1f} %, at most {choice.largest_move_percent:.1f} %",
    )
    return dict(zip(_COLUMNS, cells, strict=True))
