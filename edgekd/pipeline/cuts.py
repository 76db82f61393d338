"""What is done to a student before it is taught, and how it is written."""

from copy import deepcopy
from pathlib import Path

from edgekd.core import provenance, specs
from edgekd.data.sources import Splits
from edgekd.models import checkpoint, score
from edgekd.models.checkpoint import Model
from edgekd.pipeline.job import device_of
from edgekd.prune import channels


def prune(
    model: Model,
    spec: specs.Prune,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
) -> None:
    """Prune a copy of a model and write it as it is: its BN statistics are stale."""
    module = deepcopy(model.module)
    surgery = channels.prune(module, model.record.input_shape, spec, surgery_so_far=model.surgery)
    pruned = Model(module, model.record, surgery, None)
    save(pruned, "pruned", model, splits, training, folder)


def recalibrate(
    model: Model, count: int, splits: Splits, training: specs.Training, folder: Path
) -> None:
    """Take the BN statistics anew from ``count`` training images, and write the result."""
    module = deepcopy(model.module)
    score.recalibrate(
        module,
        splits.train,
        model.record.normalisation,
        count=count,
        seed=training.seed,
        device=device_of(training),
    )
    fresh = Model(module, model.record, model.surgery, None)
    save(fresh, "recalibrated", model, splits, training, folder)


def save(
    model: Model,
    stage: str,
    parent: Model,
    splits: Splits | None,
    training: specs.Training,
    folder: Path,
    also: tuple[str, ...] = (),
) -> None:
    """Write a student with its size and, where there are images, its validation accuracy.

    Its parents are the hash of ``parent``, then those of ``also``.
    """
    parameters, macs = checkpoint.count(model.module, model.record.input_shape)
    top1 = None
    if splits is not None:
        top1 = score.top1_percent(
            model.module,
            splits.validation,
            model.record.normalisation,
            device=device_of(training),
        )
    changes = {
        "stage": stage,
        "provenance": provenance.stamp("torch", "torch-pruning", seed=training.seed),
        "parents": (parent.record.weights_sha256, *also),
        "parameters": parameters,
        "macs": macs,
        "data": splits.identity() if splits is not None else model.record.data,
        "validation_top1_percent": top1,
    }
    checkpoint.save(folder, model.module, model.record.model_copy(update=changes), model.surgery)
