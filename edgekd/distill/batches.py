"""Batches of a training set: a fixed order for each epoch, varied on the device as a whole."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.core import specs
from edgekd.core.errors import DataError
from edgekd.core.records import Normalisation
from edgekd.data.augment import Augment, choose, normalise
from edgekd.data.images import Stored
from edgekd.data.sources import ImageSet
from edgekd.data.strong import Strong
from edgekd.distill.processes import Processes

_ORDER = 1  # sets the orders' random numbers apart from others of the same seed
_ROOM = 0.25  # of a GPU's free memory may hold the training images
_SECOND = 2**20  # added to a view's number: how its second variation is moved and flipped


@dataclass(frozen=True)
class Batch:
    """This process's part of a batch.

    Args:
        ids_n: [N] places in the training set.
        view: which variation of the images it is.
        images_nchw: float32 [N, C, H, W], normalised, channels last in memory, on the device.
        labels_n: [N], on the device; None: they are not read.
        second_nchw: another variation of the same images, with strong operations; None: not asked
            for.
    """

    ids_n: NDArray[np.int64]
    view: int
    images_nchw: Tensor
    labels_n: Tensor | None
    second_nchw: Tensor | None = None


class Batches:
    """The batches of a training set. What an epoch holds depends on seed and epoch alone.

    Args:
        images: N of them.
        normalisation: of the student.
        data: batch size (over all processes) and augmentation.
        seed: of order and augmentation.
        processes: who shares the batches.
        labels: False: they are never read.
        second_view: give a second variation of every image, in which each strong operation has
            this probability; None: give none.

    Raises:
        DataError: there are fewer images than a batch holds.
        UsageError: a batch cannot be divided among the processes.
    """

    def __init__(
        self,
        images: ImageSet,
        normalisation: Normalisation,
        data: specs.Data,
        seed: int,
        processes: Processes,
        *,
        labels: bool = True,
        second_view: float | None = None,
    ) -> None:
        if len(images) < data.batch_size:
            raise DataError(
                f"batch_size is {data.batch_size}, but there are {len(images)} training images: "
                "a smaller one is needed, as with --set data.batch_size=16"
            )
        self.images = images
        self.size = data.batch_size
        self.steps = len(images) // data.batch_size
        self._normalisation = normalisation
        self._seed = seed
        self._device = processes.device
        self._share = processes.share(data.batch_size)
        self._labels = labels
        self._kept_nhwc = all_pixels(images, self._device) if _fits(images, self._device) else None
        kind = choose(data.augment, images.shape)
        self._augment = Augment(kind, len(images), seed, normalisation=normalisation)
        self._strong = None if second_view is None else Strong(second_view, len(images), seed)

    def epoch(self, epoch: int, view: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; what is left over at its end is dropped.

        Args:
            epoch: from 0; it decides the order.
            view: from 0; it decides how each image is varied.
        """
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self.images))
        return self._batches(order[: self.steps * self.size], view)

    def in_order(self, view: int) -> Iterator[Batch]:
        """Yield all images in their order; the last batch is filled up with the first images."""
        count = -(-len(self.images) // self.size) * self.size
        return self._batches(np.arange(count) % len(self.images), view)

    def _batches(self, order: NDArray[np.int64], view: int) -> Iterator[Batch]:
        variation = self._augment.view(view)
        second = None if self._strong is None else self._augment.view(_SECOND + view)
        strong = None if self._strong is None else self._strong.view(view)
        parts = [ids_n[self._share] for ids_n in order.reshape(-1, self.size)]
        # One thread reads ahead: decoding files takes long, and copying to a GPU some time.
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, parts[0])
            for number, ids_n in enumerate(parts):
                pixels_nhwc, labels_n = coming.result()
                if number + 1 < len(parts):
                    coming = reader.submit(self._read, parts[number + 1])
                if labels_n is not None:
                    labels_n = labels_n.to(self._device, non_blocking=True)
                images_nchw = variation.apply(self._normalise(pixels_nhwc), torch.from_numpy(ids_n))
                second_nchw = None
                if strong is not None and second is not None:
                    changed_nhwc = strong.apply(pixels_nhwc.to(self._device), ids_n)
                    second_nchw = second.apply(
                        self._normalise(changed_nhwc), torch.from_numpy(ids_n)
                    )
                yield Batch(ids_n, view, images_nchw, labels_n, second_nchw)

    def _normalise(self, pixels_nhwc: Tensor) -> Tensor:
        return normalise(pixels_nhwc, self._normalisation, self._device, channels_last=True)

    def _read(self, ids_n: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        labels_n = torch.from_numpy(self.images.labels_n[ids_n]) if self._labels else None
        if self._kept_nhwc is not None:
            return self._kept_nhwc[torch.from_numpy(ids_n).to(self._device)], labels_n
        pixels_nhwc = torch.from_numpy(self.images.batch(ids_n))
        if self._device.type == "cuda":
            return pixels_nhwc.pin_memory(), None if labels_n is None else labels_n.pin_memory()
        return pixels_nhwc, labels_n


def all_pixels(images: ImageSet, device: torch.device) -> Tensor:
    """Return all images on a device, uint8 [N, H, W, C], so that batches need not travel."""
    return torch.from_numpy(images.batch(np.arange(len(images)))).to(device)


def _fits(images: ImageSet, device: torch.device) -> bool:
    """Say whether all images are in memory already, and fit into a GPU's, too."""
    if device.type != "cuda" or not isinstance(images.pixels, Stored):
        return False
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return len(images) * int(np.prod(images.shape)) <= _ROOM * free_bytes
