"""``edgekd diff``: which layer of two files of one network differs first."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekd.cli import console
from edgekd.cli.options import ImageSize, Json, Mean, Seed, Source, Std

if TYPE_CHECKING:  # it stands on onnx, which `edgekd --help` need not wait for
    from edgekd.evaluate.bisect import Comparison, Difference

NAME = "diff"


def command(
    first: Annotated[Path, typer.Argument(metavar="MODEL_A", help="The one that is right: .onnx.")],
    second: Annotated[Path, typer.Argument(metavar="MODEL_B", help="The other one: .onnx.")],
    data: Source,
    images: Annotated[int, typer.Option(min=1, help="Training images.")] = 16,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest relative error that is no difference.")
    ] = 0.05,
    every: Annotated[
        bool, typer.Option("--all", help="Measure every layer, not only those on the way.")
    ] = False,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Find the first layer that differs: status 0 or 1.

    0 none differs, 1 one does. Both files come from one network, such as a float and an INT8
    export; a checkpoint folder is exported in float first. The relative error is the RMS of the
    difference over the RMS of the first file's values.

    Example:
        edgekd diff fp32/model.onnx int8/model.onnx --data folder:flowers \
            --all
    """
    from edgekd.pipeline import diff

    found = diff.diff(
        (first, second),
        data,
        diff.Settings(images, tolerance, every, mean, std, image_size, seed),
        progress=console.progress(),
    )
    if json:
        console.result({"tolerance": tolerance, **_finite(asdict(found))})
    else:
        _show(found, tolerance)
    raise typer.Exit(int(found.first is not None))


def _show(found: "Comparison", tolerance: float) -> None:
    head = ("layer", "operator", "relative error", "increase", "cosine", "largest error")
    rows = [dict(zip(head, head, strict=True))]
    rows += [dict(zip(head, _cells(row), strict=True)) for row in found.measured]
    console.table(rows)
    looked = f"{len(found.measured)} of {found.common} layers measured"
    if found.first is None:
        print(f"nothing differs: {looked}, limit {tolerance:g}")
        return
    error = found.first.relative_error
    print(f"first differs: {found.first.layer} (relative error {error:.2g}, limit {tolerance:g})")
    console.note(looked)


def _cells(row: "Difference") -> tuple[str, ...]:
    return (
        row.layer,
        row.operator,
        f"{row.relative_error:.2g}",
        f"{row.increase:+.2g}",
        f"{row.cosine:.6f}",
        f"{row.max_error:.2g}",
    )


def _finite(value: Any) -> Any:
    """Write null for what is not finite: JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
