"""Normalise and vary whole batches of images on the device, sample by sample reproducible.

Letters: N images, B images in a batch, C channels, H rows, W columns.
"""

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from edgekd.core.errors import DataError, UsageError, did_you_mean
from edgekd.core.records import Normalisation

_BRIGHTEST = 255
_PADDING = {"shift": 1, "crop-flip": 4}  # pixels on each side
_KINDS = ("none", *_PADDING, "resized-crop")

# He et al. and torchvision's RandomResizedCrop: share of the area, and width over height.
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 10
_LARGE = 64  # pixels; below, a crop of a tenth of the area shows nothing


def normalise(
    images_nhwc: Tensor | NDArray[np.uint8],
    normalisation: Normalisation,
    device: str | torch.device,
    channels_last: bool = False,  # noqa: FBT001, FBT002  a flag of the layout, as in torch
) -> Tensor:
    """Return (pixel / 255 - mean) / std, float32 [B, C, H, W] on ``device``.

    Args:
        images_nhwc: uint8 [B, H, W, C].
        normalisation: C means and standard deviations.
        device: where the arithmetic is done; only the 8-bit pixels travel.
        channels_last: the memory layout of the result.

    Raises:
        DataError: not uint8, or another number of channels than the normalisation has.
    """
    pixels = torch.from_numpy(images_nhwc) if isinstance(images_nhwc, np.ndarray) else images_nhwc
    if pixels.dtype != torch.uint8 or pixels.dim() != 4:  # noqa: PLR2004
        raise DataError(
            f"the images are {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, H, W, C]"
        )
    channels = pixels.shape[3]
    if channels != len(normalisation.mean):
        raise DataError(
            f"the images have {channels} channels, but the model takes {len(normalisation.mean)}"
        )
    mean_c = torch.tensor(normalisation.mean, device=device)
    std_c = torch.tensor(normalisation.std, device=device)
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images_nchw = images.to(torch.float32, memory_format=layout)
    scale_c, shift_c = 1 / (_BRIGHTEST * std_c), -mean_c / std_c
    return images_nchw.mul_(scale_c.view(1, -1, 1, 1)).add_(shift_c.view(1, -1, 1, 1))


def choose(kind: str, shape: tuple[int, int, int]) -> str:
    """Return what "auto" means for images of H, W, C pixels; any other kind as it is.

    Grey images are mostly of characters and parts, which have a handedness: they are not flipped.
    """
    if kind != "auto":
        return kind
    height, width, channels = shape
    if channels == 1:
        return "shift"
    return "crop-flip" if min(height, width) < _LARGE else "resized-crop"


class Augment:
    """Random variations of the images of one training set.

    "none"          as they are
    "shift"         moved by -1, 0 or 1 pixel along each axis; no flip: digits have a handedness
    "crop-flip"     moved by -4 to 4 pixels, flipped left to right in half of the cases
    "resized-crop"  a part of 8 to 100 % of the area, stretched to the whole; flipped likewise

    What a move uncovers is black, pixel 0, as in the published CIFAR recipes, which pad before they
    normalise: so the normalisation of the images must be known here.

    Args:
        kind: one of the above.
        images: N, the size of the training set.
        seed: of all random numbers.
        normalisation: what was applied to the images that are given to ``View.apply``.

    Raises:
        UsageError: there is no such kind.

    Source: He et al., 2016, https://arxiv.org/abs/1512.03385, section 4.2; torchvision's
    ``RandomResizedCrop``, whose draws "resized-crop" follows, without rounding to whole pixels. It
    stretches what is in memory, [H, W], so it sees no detail beyond that.
    """

    def __init__(self, kind: str, images: int, seed: int, *, normalisation: Normalisation) -> None:
        if kind not in _KINDS:
            raise UsageError(f"no augmentation is called '{kind}'.{did_you_mean(kind, _KINDS)}")
        self.kind = kind
        self.images = images
        self.seed = seed
        self.normalisation = normalisation

    def view(self, v: int) -> "View":
        """Return variation ``v`` >= 0 of every image: the same one at every call."""
        generator = np.random.default_rng([self.seed, v])
        choices: dict[str, NDArray[np.generic]] = {}
        if self.kind in _PADDING:
            offsets = generator.integers(2 * _PADDING[self.kind] + 1, size=(2, self.images))
            choices["top"], choices["left"] = offsets
        if self.kind == "resized-crop":
            choices["box"] = _boxes(self.images, generator)
        if self.kind in {"crop-flip", "resized-crop"}:
            choices["flip"] = generator.random(self.images) < 0.5  # noqa: PLR2004  half of them
        return View(self.kind, choices, self.normalisation)


class View:
    """One variation of every image of a set; made by ``Augment.view``."""

    def __init__(
        self, kind: str, choices: dict[str, NDArray[np.generic]], normalisation: Normalisation
    ) -> None:
        self._kind = kind
        self._choices = {
            name: torch.from_numpy(np.ascontiguousarray(c)) for name, c in choices.items()
        }
        mean_c, std_c = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
        self._black_c = -mean_c / std_c

    def apply(self, images_nchw: Tensor, ids: Tensor) -> Tensor:
        """Vary a batch; its pixels depend on seed, id and view alone, not on the batch.

        Args:
            images_nchw: normalised images [B, C, H, W].
            ids: [B] place of each in the training set, 0 to N - 1.

        Returns:
            [B, C, H, W] on the images' device, in their memory layout; the images themselves for
            "none".
        """
        if self._kind == "none":
            return images_nchw
        if self._black_c.device != images_nchw.device:  # once for each view
            self._black_c = self._black_c.to(images_nchw.device)
            self._choices = {k: c.to(images_nchw.device) for k, c in self._choices.items()}
        ids = ids.to(images_nchw.device)
        chosen = {name: choice[ids] for name, choice in self._choices.items()}
        if self._kind == "resized-crop":
            return _stretch(images_nchw, chosen["box"], chosen["flip"])
        padding = _PADDING[self._kind]
        moved = _move(images_nchw, chosen["top"], chosen["left"], padding, self._black_c)
        return _flip(moved, chosen["flip"]) if "flip" in chosen else moved


def _channels_last(images_nchw: Tensor) -> bool:
    contiguous: bool = images_nchw.is_contiguous(memory_format=torch.channels_last)
    return contiguous and not images_nchw.is_contiguous()


def _move(images: Tensor, top: Tensor, left: Tensor, padding: int, black_c: Tensor) -> Tensor:
    """Pad with black and cut out [H, W] at (top, left), each [B] in [0, 2 * padding]."""
    batch, channels, height, width = images.shape
    last = _channels_last(images)
    layout = torch.channels_last if last else torch.contiguous_format
    size = (batch, channels, height + 2 * padding, width + 2 * padding)
    padded = torch.empty(size, dtype=images.dtype, device=images.device, memory_format=layout)
    padded.copy_(black_c.to(images.dtype).view(1, -1, 1, 1).expand_as(padded))
    padded[:, :, padding : padding + height, padding : padding + width] = images
    # A view of all windows; indexing it copies one of them for each image.
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, top, left, H, W]
    order = (0, 2, 3, 4, 5, 1) if last else (0, 2, 3, 1, 4, 5)
    rows = torch.arange(batch, device=images.device)
    cut = windows.permute(order)[rows, top, left]
    return cut.permute(0, 3, 1, 2) if last else cut


def _flip(images_nchw: Tensor, flip: Tensor) -> Tensor:
    return torch.where(flip.view(-1, 1, 1, 1), images_nchw.flip(3), images_nchw)


def _boxes(images: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw [N, 4] left, top, width, height, as shares of the image's.

    A draw that does not fit is repeated; after ten the whole image is taken.
    """
    boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (images, 1))
    missing = np.arange(images)
    for _ in range(_ATTEMPTS):
        area = generator.uniform(*_AREA, size=len(missing))
        aspect = np.exp(generator.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1]), len(missing)))
        width, height = np.sqrt(area * aspect), np.sqrt(area / aspect)
        left, top = generator.random((2, len(missing))) * np.stack([1 - width, 1 - height])
        fits = (width <= 1) & (height <= 1)
        boxes[missing[fits]] = np.stack([left, top, width, height], axis=1)[fits]
        missing = missing[~fits]
    return boxes


def _stretch(images_nchw: Tensor, box: Tensor, flip: Tensor) -> Tensor:
    """Stretch each image's box to the whole, by bilinear interpolation."""
    height, width = images_nchw.shape[2:]
    left, top, wide, high = box.unbind(1)
    steps = partial(torch.arange, device=images_nchw.device, dtype=torch.float32)
    across = (steps(width) + 0.5) / width
    across = torch.where(flip[:, None], 1 - across, across)
    # grid_sample counts from -1 to 1. Written out, not affine_grid: a product of matrices may
    # round otherwise in another batch.
    x_nw = 2 * (left[:, None] + wide[:, None] * across) - 1
    y_nh = 2 * (top[:, None] + high[:, None] * ((steps(height) + 0.5) / height)) - 1
    size = (len(box), height, width)
    grid = torch.stack([x_nw[:, None, :].expand(size), y_nh[:, :, None].expand(size)], dim=3)
    cut = grid_sample(
        images_nchw, grid.to(images_nchw.dtype), padding_mode="border", align_corners=False
    )
    return cut.contiguous(memory_format=torch.channels_last) if _channels_last(images_nchw) else cut
