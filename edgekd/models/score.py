"""Classify sets of images with a network, and estimate its batch normalisation anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.core.errors import CheckpointError, DataError
from edgekd.core.progress import Progress, Silent
from edgekd.core.records import Normalisation
from edgekd.data.augment import normalise

_RECALIBRATION_BATCH = 128


class Images(Protocol):
    """What is needed of a set of images."""

    @property
    def labels_n(self) -> NDArray[np.int64]:
        """Return the class of each image."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pixels [B, H, W, C]."""
        ...


def predict(
    module: nn.Module,
    images: Images,
    normalisation: Normalisation,
    *,
    device: str = "cpu",
    batch: int = 256,
    progress: Progress | None = None,
    title: str = "classify",
) -> NDArray[np.float32]:
    """Compute the logits [N, K] of all images, in their order.

    Args:
        module: is moved to ``device`` and stays there; its mode is left as it is.
        images: N of them.
        normalisation: of the network.
        device: "cpu", "cuda", "cuda:1".
        batch: images at a time.
        progress: None: silent.
        title: of the progress.

    Raises:
        DataError: there are no images.
        CheckpointError: a logit is not finite.
    """
    if not len(images):
        raise DataError("there are no images to classify")
    module.to(device)
    parts = []
    listener = progress or Silent()
    with listener.task(title, len(images)) as task, evaluating(module), torch.no_grad():
        for first in range(0, len(images), batch):
            indices = np.arange(first, min(first + batch, len(images)))
            images_nchw = normalise(images.batch(indices), normalisation, device)
            logits_nk = module(images_nchw).float().cpu().numpy()
            if not np.isfinite(logits_nk).all():
                row = int(indices[~np.isfinite(logits_nk).all(axis=1)][0])
                raise CheckpointError(f"the network's logits for image {row} are not finite")
            parts.append(logits_nk)
            task.advance(len(indices))
    return np.concatenate(parts)


def top1_percent(
    module: nn.Module,
    images: Images,
    normalisation: Normalisation,
    *,
    device: str = "cpu",
    batch: int = 256,
) -> float:
    """Return the share of images whose largest logit is that of their class, in percent."""
    logits_nk = predict(module, images, normalisation, device=device, batch=batch)
    return 100.0 * float((logits_nk.argmax(axis=1) == images.labels_n).mean())


def recalibrate(
    module: nn.Module,
    images: Images,
    normalisation: Normalisation,
    count: int,
    seed: int,
    *,
    device: str = "cpu",
) -> None:
    """Estimate the mean and variance of every batch normalisation anew, in place; no gradients.

    Each batch has the same weight in the average. Dropout stays off, and the network's modes and
    momenta are left as they were.

    Args:
        module: is moved to ``device`` and stays there.
        images: training images; ``count`` of them are drawn without replacement.
        normalisation: of the network.
        count: how many images; 0: nothing is done. All of them, if there are fewer.
        seed: of the draw.
        device: "cpu", "cuda", "cuda:1".

    Raises:
        DataError: fewer than two images, of which there is no variance.

    Source: Li et al., 2020, EagleEye, https://arxiv.org/abs/2007.02491.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    layers = [layer for layer in layers if layer.track_running_stats]
    if not count or not layers:
        return
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    if len(chosen) < 2:  # noqa: PLR2004  a variance
        raise DataError(f"batch normalisation needs two images or more, found {len(chosen)}")
    module.to(device)
    momenta = [layer.momentum for layer in layers]
    size = min(_RECALIBRATION_BATCH, len(chosen))
    with evaluating(module), torch.no_grad():
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
            layer.train()
        # A short last batch would weigh as much as a full one.
        for first in range(0, len(chosen) - size + 1, size):
            pixels = images.batch(np.sort(chosen[first : first + size]))
            module(normalise(pixels, normalisation, device))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode and, at the end, each part back into its own."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def classifier(module: nn.Module, classes: int | None = None) -> str:
    """Return the dotted name of the layer that makes the logits.

    It is the last linear layer, else the last 1x1 convolution, in the order of definition.

    Args:
        module: a classifier.
        classes: look only at layers with so many outputs; None: at all.

    Raises:
        CheckpointError: there is none.
    """
    linear: list[str] = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and classes in {None, part.out_features}
    ]
    pointwise: list[str] = [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
        and part.kernel_size == (1, 1)
        and classes in {None, part.out_channels}
    ]
    if not linear and not pointwise:
        outputs = "" if classes is None else f" with {classes} outputs"
        raise CheckpointError(
            f"{type(module).__name__} has no linear layer or 1x1 convolution{outputs}"
        )
    return (linear or pointwise)[-1]
