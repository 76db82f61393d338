"""The student with few values: what quantising one takes, from images to a checkpoint."""

from copy import deepcopy
from pathlib import Path

import torch

from edgekd.core import specs
from edgekd.core.errors import UsageError
from edgekd.data.sources import Splits
from edgekd.models import score
from edgekd.models.checkpoint import Model
from edgekd.models.quantisers import FLOAT
from edgekd.pipeline import cuts
from edgekd.pipeline.job import device_of
from edgekd.quantize import qat

_EXACT = 8  # bits from which BN statistics stay good


def quantise(
    model: Model,
    spec: specs.Quantize,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
) -> None:
    """Quantise a copy of the model and write it.

    Below 8 bits the BN statistics are taken anew, where there are images: few values change what
    the layers after them see.

    Raises:
        UsageError: activations without images, or see ``qat.quantise``.
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
    module.to(device)
    found = qat.quantise(module, spec, images, classes=model.record.classes)
    if splits is not None and found.least_bits < _EXACT:
        count = spec.recalibrate_images
        score.recalibrate(
            module, splits.train, normalisation, count=count, seed=training.seed, device=device
        )
    quantised = Model(module, model.record, model.surgery)
    cuts.save(quantised, "quantized", model, splits, training, folder)
