"""``edgekd init``: a commented recipe to start from."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.core import files
from edgekd.core.errors import UsageError

NAME = "init"

_COMMENT = 36  # column before the comments
_LARGE = 96  # pixels: pictures rather than thumbnails

_TEMPLATE = """\
# A recipe for edgekd: edgekd run {file}
# Try it with few images first: --set data.train_images=2000 --set stages.1.epochs=1
# Every key and its default: docs/recipes.md. `edgekd run {file} --plan` shows the steps.

[teacher]                            # the trained network
{model} # `edgekd list models`, or "package.module:factory"
{weights}
# mean = [0.485, 0.456, 0.406]       # pixels in [0, 1]; default: what the model's family uses
# std = [0.229, 0.224, 0.225]
# expected_top1_percent = 76.0       # its makers' figure: edgekd warns when the data give less

# [teacher.train]                    # adapt the teacher to the data before it teaches
# epochs = 5
# learning_rate = 0.01

[data]
{data} # `edgekd list sources`
{size} # pixels, square
{augment} # none, shift, crop-flip, resized-crop
batch_size = 64

[student.prune]
criterion = "l1"                     # `edgekd list criteria`
macs = 0.5                           # the share of the multiply-accumulates that is LEFT
round_to = 8                         # channels stay a multiple of it

[[stages]]                           # first steady the classifier ...
name = "classifier"
trainable = "classifier"
methods = [{{ name = "kd", weight = 0.5, options = {{ temperature = 4.0 }} }}]
ce = 0.5
epochs = 1
learning_rate = 0.01

[[stages]]                           # ... then distil deeply
name = "deep"
methods = [
    {{ name = "fdkd", weight = 1.0, options = {{ layers = "all" }} }},
    {{ name = "kd", weight = 0.5, options = {{ temperature = 4.0 }} }},
]
ce = 1.0                             # weight of the cross-entropy with the labels
epochs = 20
learning_rate = 0.01

[export]
targets = ["onnx-fp32", "onnx-int8", "tensorrt-int8"]    # `edgekd list targets`
calibrator = "entropy"               # `edgekd list calibrators`
calibration_images = 512             # from the training images
rivals = false                       # true: the teacher at the INT8 and FP16 targets, too

[profile]
device = "host-cpu"
batch = 1
threads = 1

[gate]                               # fix the margins before you measure
top1_drop_pp = {{ margin = 1.0, confidence = 0.95 }}
latency_ratio = {{ limit = 1.0, informative = true }}
size_ratio = {{ limit = 0.6 }}
"""


def command(
    model: Annotated[
        str, typer.Option(help="The teacher: 'torchvision:resnet18', 'package.module:factory' ...")
    ] = "torchvision:resnet18",
    weights: Annotated[
        str | None, typer.Option(help="Its weights: .safetensors, .pt or .pth.")
    ] = None,
    data: Annotated[str, typer.Option(help="The images, as in 'folder:DIR'.")] = "folder:data",
    image_size: Annotated[int, typer.Option(help="Pixels, square.", min=1)] = 224,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("recipe.toml"),
) -> None:
    r"""Write a commented recipe for your own model and images.

    Example:
        edgekd init --model torchvision:resnet18 --weights r18.pth \
            --data folder:flowers
    """
    if out.suffix != ".toml":
        raise UsageError(f"a recipe's name must end in .toml, but --out is '{out}'")
    if out.exists():
        raise UsageError(f"'{out}' is there already: name another file with --out")
    kind, colon, place = data.partition(":")
    on_disk = [weights] if weights else []
    if colon and kind in ("cifar10", "cifar100", "folder", "pack"):
        on_disk.append(place)
        data = f"{kind}:{_beside(place, out)}"
    file = _beside(weights, out) if weights else "teacher.safetensors"
    text = _TEMPLATE.format(
        file=out,
        model=_key("model", model),
        weights=_key("weights", file) + " # .safetensors, .pt or .pth, beside this file",
        data=_key("source", data),
        size=_key("image_size", image_size),
        augment=_key("augment", "resized-crop" if image_size >= _LARGE else "crop-flip"),
    )
    files.write_text(out, text)
    for path in on_disk:
        if not Path(path).exists():
            console.note(f"note: '{path}' is not there yet")
    console.note(f"wrote '{out}': look through it, then: edgekd run {shlex.quote(str(out))}")


def _beside(path: str, recipe: Path) -> str:
    """Write a path as the recipe will read it: from the recipe's own folder."""
    return path if Path(path).is_absolute() else os.path.relpath(path, recipe.parent)


def _key(name: str, value: object) -> str:
    """Write a key that has a comment behind it; what JSON escapes, TOML escapes the same way."""
    return f"{name} = {json.dumps(value, ensure_ascii=False)}".ljust(_COMMENT)
