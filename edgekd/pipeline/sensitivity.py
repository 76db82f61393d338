"""What INT8 costs, layer by layer, and which layers must stay float: ``edgekd sensitivity``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.core import files, provenance, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.core.sensitivity import Damage, Layer, Mixed, Sensitivity
from edgekd.data.draw import draw
from edgekd.data.sources import Splits
from edgekd.export.target import Target
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts, mixed, single
from edgekd.pipeline.variants import Variants
from edgekd.report import sensitivity as page

RECORD, PAGE, TARGET = "sensitivity.json", "sensitivity.html", "mixed.toml"
CACHE = "cache"


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    target: str = "tensorrt-int8"  # name or file of one with precision "int8"
    images: int = 2000  # validation images; all of them, if there are fewer
    calibrator: str = "entropy"
    calibration_images: int = 512  # of the training images
    leave_one_out: bool = False  # also each layer alone in float
    rule: specs.AccuracyRule | None = None  # search the layers that must stay float for it to hold
    seed: int = 0  # of the images that are drawn


def sensitivity(
    arguments: single.ModelArguments,
    source: str,
    out: Path,
    settings: Settings,
    *,
    progress: Progress | None = None,
) -> Sensitivity:
    """Measure what INT8 costs each layer, and write record, page and, if asked for, a target.

    Everything that was computed is kept in ``out``/cache and read by the next call, whether this
    one went through or not. Test images are not read: the layers that stay float are a choice.

    Args:
        arguments: the checkpoint.
        source: of the images: training images for the ranges, validation images to compare on.
        out: folder; files of the same names are replaced.
        settings: what to measure.
        progress: None: silent.

    Raises:
        UsageError: no INT8 target, settings out of range, or images of other classes.
        DataError: images that the checkpoint does not take.
        ExportError: it cannot be exported, or nothing in it can be INT8.
    """
    target = Target.read(settings.target)
    _check(target, settings, out)
    splits = single.load(source, arguments, settings.seed)
    model = arguments.open(splits)
    if model.record.classes != len(splits.class_names):
        raise UsageError(
            f"'{arguments.name}' has {model.record.classes} classes, but the images have "
            f"{len(splits.class_names)}: name the images that it was trained on with --data"
        )
    variants = _variants(model, target, splits, settings, out)
    layers = list(variants.layers)
    others = {name: tuple(other for other in layers if other != name) for name in layers}
    singles = [(name,) for name in layers] if settings.leave_one_out and len(layers) > 1 else []
    wanted = [(), *others.values(), *singles]
    variants.calibrate(wanted)
    with (progress or Silent()).task("quantise layer by layer", len(wanted)) as task:
        for keep_float in wanted:
            variants.damage(keep_float)
            task.advance(note=f"{len(layers) - len(keep_float)} of {len(layers)} layers in INT8")
    found = [
        Layer(
            layer=name,
            operator=operator,
            alone=variants.damage(others[name]),
            without=variants.damage((name,)) if singles else None,
        )
        for name, operator in variants.layers.items()
    ]
    found.sort(key=lambda one: one.alone.kl_nats, reverse=True)
    chosen = None
    if settings.rule is not None:
        chosen = _mix(variants, [one.layer for one in found], settings.rule, progress)
    record = Sensitivity(
        provenance=provenance.stamp("torch", "onnx", "onnxruntime", seed=settings.seed),
        parents=(model.record.weights_sha256,),
        subject=arguments.name,
        target=target.name,
        calibration=f"{settings.calibrator} on {len(variants.calibration)} training images",
        source=source,
        images=len(variants.validation),
        images_sha256=variants.validation.sha256,
        top1_percent=variants.top1_percent,
        left_float=variants.left_float,
        everything=variants.damage(()),
        layers=tuple(found),
        mixed=chosen,
    )
    _write(record, variants, out)
    return record


def _check(target: Target, settings: Settings, out: Path) -> None:
    if target.precision != "int8":
        raise UsageError(
            f"target '{target.name}' computes in {target.precision}: name one of INT8, such as "
            "tensorrt-int8"
        )
    for option, count in (
        ("--images", settings.images),
        ("--calibration-images", settings.calibration_images),
    ):
        if count < 1:
            raise UsageError(f"{option} is {count}; expected 1 or more")
    if out.is_file():
        raise UsageError(f"'{out}' is a file: name a folder with --out")


def _variants(
    model: Model, target: Target, splits: Splits, settings: Settings, out: Path
) -> Variants:
    train, validation = splits.train, splits.validation
    if settings.images < len(validation):
        generator = np.random.default_rng(settings.seed)
        validation = validation.take(draw(validation.labels_n, settings.images, generator))
    return Variants(
        model,
        target,
        train.take(artifacts.rows(train, settings.calibration_images, settings.seed)),
        settings.calibrator,
        validation,
        out / CACHE,
        settings.seed,
    )


def _mix(
    variants: Variants, order: list[str], rule: specs.AccuracyRule, progress: Progress | None
) -> Mixed:
    # As many trials as can be: two ends, the bisection, and the layers that it leaves.
    most = 2 + len(order).bit_length() + len(order)
    with (progress or Silent()).task("search for mixed precision", most) as task:

        def damage(keep_float: tuple[str, ...]) -> Damage:
            found = variants.damage(keep_float)
            task.advance(note=f"{len(keep_float)} of {len(order)} layers in float")
            return found

        return mixed.mix(order, damage, rule, len(variants.validation))


def _write(record: Sensitivity, variants: Variants, out: Path) -> None:
    records.write(record, out / RECORD)
    page.write(record, out / PAGE)
    (out / TARGET).unlink(missing_ok=True)
    if record.mixed is not None and record.mixed.state == "passed":
        target = variants.target_with(record.mixed.keep_float)
        files.write_text(out / TARGET, mixed.toml(target, record.mixed, record.subject))
