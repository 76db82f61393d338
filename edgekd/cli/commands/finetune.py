"""``edgekd finetune``: teach a student, with the stages of a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Classes, ImageSize, Json, Mean, Overrides, Resume, Std
from edgekd.core import extras

NAME = "finetune"


def command(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT", help="Checkpoint folder, or one of `edgekd list models`."
        ),
    ],
    teacher: Annotated[str, typer.Option(help="Checkpoint folder, or a model spec.")],
    recipe: Annotated[str, typer.Option(help="Recipe whose stages are used.")],
    data: Annotated[str, typer.Option(metavar="SOURCE", help="`edgekd list sources`.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of the student, if a model spec.")
    ] = None,
    teacher_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of the teacher, if a model spec.")
    ] = None,
    classes: Classes = None,
    mean: Mean = None,
    std: Std = None,
    image_size: ImageSize = None,
    overrides: Overrides = None,
    resume: Resume = False,
    json: Json = False,
) -> None:
    r"""Teach a student with the stages of a recipe.

    The recipe's augmentation, batch size and [training] hold, too; its teacher, student, targets
    and gate are not used.

    Example:
        edgekd finetune pruned --teacher torchvision:resnet18 \
            --teacher-weights r18.pth --recipe my.toml \
            --data folder:flowers --out student
    """
    extras.require("torch", "train", "to train a model")
    from edgekd.pipeline import single  # torch: only now

    try:
        record = single.finetune(
            single.ModelArguments(student, weights, classes, mean, std, image_size),
            single.ModelArguments(teacher, teacher_weights, classes, mean, std, image_size),
            recipe,
            data,
            out,
            overrides=overrides or (),
            resume=resume,
            progress=console.progress(),
        )
    except KeyboardInterrupt:
        console.note("interrupted; go on with the same command and --resume")
        raise
    if not console.is_first_process():
        return
    if json:
        console.result(record.model_dump(mode="json"))
    else:
        print(f"{out}: {_accuracy(record.validation_top1_percent)}")


def _accuracy(top1_percent: float | None) -> str:
    if top1_percent is None:
        return "no labels were read; see `edgekd evaluate`"
    return f"{top1_percent:.2f} % of the validation images right"
