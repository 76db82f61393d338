"""The student with few values: what quantising one takes, from images to a checkpoint."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

import torch

from edgekd.core import plugins, specs
from edgekd.core.errors import UsageError
from edgekd.data.sources import Splits
from edgekd.export import trained
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.target import Target
from edgekd.models import fake_quant, score
from edgekd.models.checkpoint import Model
from edgekd.models.quantisers import FLOAT
from edgekd.pipeline import cuts
from edgekd.pipeline.job import device_of
from edgekd.quantize import qat
from edgekd.quantize.qat import Int8

_INT8 = 8
_EXACT = 7  # bits from which BN statistics stay good


def quantise(
    model: Model,
    spec: specs.Quantize,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
) -> None:
    """Quantise a copy of the model and write it.

    W8A8 for a target leaves in float what the target does.
    Below 7 bits the BN statistics are taken anew, where there are images: few values change what
    the layers after them see.

    Raises:
        UsageError: activations without images, or see ``int8_of`` and ``qat.quantise``.
    """
    if splits is None and spec.activations != FLOAT:
        raise UsageError(
            "the steps of activations are taken from images: name a source with --data, or leave "
            f"activations in float with W{spec.weights}A32"
        )
    module = deepcopy(model.module)
    device = device_of(training) if splits is not None else "cpu"
    normalisation = model.record.normalisation
    images = (
        [torch.zeros(1, *model.record.input_shape)]
        if splits is None
        else qat.batches(
            splits.train, normalisation, spec.calibration_images, training.seed, device
        )
    )
    kept = spec.model_copy(update={"keep": (*spec.keep, *_float_on_target(model, spec))})
    module.to(device)
    found = qat.quantise(module, kept, images, classes=model.record.classes, int8=int8_of(spec))
    if splits is not None and found.least_bits < _EXACT:
        count = spec.recalibrate_images
        score.recalibrate(
            module, splits.train, normalisation, count=count, seed=training.seed, device=device
        )
    quantised = Model(module, model.record, model.surgery)
    cuts.save(quantised, "quantized", model, splits, training, folder)


def aimed(spec: specs.Quantize, targets: Iterable[str]) -> specs.Quantize:
    """Name the target whose INT8 is simulated: the spec's own, else the first with INT8."""
    if spec.target is not None:
        return spec
    with_int8 = (name for name in targets if Target.read(name).form is not None)
    return spec.model_copy(update={"target": next(with_int8, None)})


def int8_of(spec: specs.Quantize) -> Int8:
    """Return how the target of a quantisation takes 8-bit numbers.

    Raises:
        UsageError: no such target, it has no INT8, or no such calibrator.
    """
    if spec.calibrator is not None:
        plugins.resolve(plugins.CALIBRATORS, spec.calibrator)
    if spec.target is None:
        return Int8()
    target = Target.read(spec.target)
    if target.form is None:
        raise UsageError(
            f"target '{target.name}' has no INT8 that training could simulate: name one that has, "
            "such as tensorrt-int8"
        )
    return Int8(target.quantise.weight_bits, symmetric=target.form == "tensorrt")


def _float_on_target(model: Model, spec: specs.Quantize) -> tuple[str, ...]:
    """Return the layers that could be quantised, but that the target computes in float."""
    if spec.target is None or (spec.weights, spec.activations) != (_INT8, _INT8):
        return ()
    target = Target.read(spec.target)
    written, _ = onnx_format.to_onnx(
        model.module, model.record.input_shape, target.opset, target.batch
    )
    names = trained.float_by_target(written, target)
    return tuple(name for name in names if fake_quant.supports(model.module.get_submodule(name)))
