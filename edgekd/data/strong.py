"""Vary 8-bit images strongly: fourteen operations, each of them by chance, one after the other.

The second view of JDA, "What Role Does Data Augmentation Play in Knowledge Distillation?" (ACCV
2022). Letters: N images, B images in a batch, C channels, H rows, W columns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.core import extras
from edgekd.core.errors import DataError

_STREAM = 2**30  # sets these random numbers apart from others of the same seed and view
_GREY = [128.0]  # what a move uncovers
_CHANNELS = (1, 3)  # grey, RGB


@dataclass(frozen=True)
class Operation:
    """One of the fourteen; ``strength`` in its own unit, 0 if it has none.

    Args:
        name: for people.
        strength: shear in columns per row, shift as a share of the side, angle in degrees,
            enhancement around 1, bits, or brightness of 255.
        apply: images uint8 [M, C, H, W] and strength -> images of the same shape.
        signed: the sign of the strength is drawn, too.
    """

    name: str
    strength: float
    apply: Callable[[Tensor, float], Tensor]
    signed: bool = False


class Strong:
    """Random strong variations of the images of one training set.

    Order and strengths are fixed; they are those of the published code for CIFAR-10, which are
    steps 0 to 9 of AutoAugment's ranges: invert, rotate by 6.7 degrees, shear y 0.27, posterise to
    4 bits, autocontrast, saturation 1 +- 0.3, sharpness 1 +- 0.9, equalise, contrast 1 +- 0.7,
    translate y 15 %, brightness 1 +- 0.6, solarise above 199, translate x 15 %, shear x 0.27.
    What is drawn for each image: whether an operation happens, and the sign where there is one.
    Saturation leaves grey images as they are.
    Pixels come from the nearest place of the image, where the published code interpolates shears.

    Args:
        probability: of each operation, 0 to 1. Published: 0.5 for CIFAR-10; with other lists of
            operations 0.3 for CIFAR-100 and 0.2 for ImageNet.
        images: N, the size of the training set.
        seed: of all random numbers.

    Raises:
        ValueError: ``probability`` is outside its range.
        EnvironmentMissingError: torchvision is missing.
    """

    def __init__(self, probability: float, images: int, seed: int) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], but is {probability}")
        extras.require("torchvision", "train", "for strong variations of images")
        self.probability = probability
        self.images = images
        self.seed = seed

    def view(self, v: int) -> "StrongView":
        """Return variation ``v`` >= 0 of every image: the same one at every call."""
        generator = np.random.default_rng([self.seed, v, _STREAM])
        shape = (len(OPERATIONS), self.images)
        happens = generator.random(shape, np.float32) < self.probability
        negative = generator.integers(2, size=shape, dtype=np.int8).astype(bool)
        return StrongView(happens, negative)


class StrongView:
    """One strong variation of every image of a set; made by ``Strong.view``."""

    def __init__(self, happens: NDArray[np.bool_], negative: NDArray[np.bool_]) -> None:
        self._happens = happens  # [14, N]
        self._negative = negative

    def apply(self, pixels_nhwc: Tensor, ids_n: NDArray[np.int64]) -> Tensor:
        """Vary a batch; what happens to an image depends on seed, id and view alone.

        Args:
            pixels_nhwc: uint8 [B, H, W, C]; C is 1 or 3. They stay as they are.
            ids_n: [B] place of each in the training set, 0 to N - 1.

        Returns:
            uint8 [B, H, W, C] on the same device.

        Raises:
            DataError: not uint8, or neither 1 nor 3 channels.
        """
        if pixels_nhwc.dtype != torch.uint8 or pixels_nhwc.shape[-1] not in _CHANNELS:
            raise DataError(
                f"the images are {pixels_nhwc.dtype} with {pixels_nhwc.shape[-1]} channels; strong "
                "variations take uint8 with 1 or 3: leave out methods with a second view"
            )
        images_nchw = pixels_nhwc.permute(0, 3, 1, 2).clone(memory_format=torch.contiguous_format)
        happens, negative = self._happens[:, ids_n], self._negative[:, ids_n]
        for number, operation in enumerate(OPERATIONS):
            minus = happens[number] & negative[number] & operation.signed
            for sign, chosen in ((1, happens[number] & ~minus), (-1, minus)):
                if chosen.any():
                    rows = torch.from_numpy(np.flatnonzero(chosen)).to(images_nchw.device)
                    changed = operation.apply(images_nchw[rows], sign * operation.strength)
                    images_nchw[rows] = changed
        return images_nchw.permute(0, 2, 3, 1).contiguous()


def _invert(images_nchw: Tensor, _: float) -> Tensor:
    return 255 - images_nchw


def _rotate(images_nchw: Tensor, degrees: float) -> Tensor:
    from torchvision.transforms.v2 import functional as v2  # heavy

    turned: Tensor = v2.rotate(images_nchw, degrees, fill=_GREY * images_nchw.shape[1])
    return turned


def _shear_x(images_nchw: Tensor, columns: float) -> Tensor:
    return _affine(images_nchw, shear=(math.degrees(math.atan(columns)), 0.0))


def _shear_y(images_nchw: Tensor, rows: float) -> Tensor:
    return _affine(images_nchw, shear=(0.0, math.degrees(math.atan(rows))))


def _translate_x(images_nchw: Tensor, share: float) -> Tensor:
    return _affine(images_nchw, right=round(share * images_nchw.shape[3]))


def _translate_y(images_nchw: Tensor, share: float) -> Tensor:
    return _affine(images_nchw, down=round(share * images_nchw.shape[2]))


def _affine(
    images_nchw: Tensor, right: int = 0, down: int = 0, shear: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Move by whole pixels, or shear about the upper left corner."""
    from torchvision.transforms.v2 import functional as v2  # heavy

    moved: Tensor = v2.affine(
        images_nchw,
        angle=0.0,
        translate=[float(right), float(down)],
        scale=1.0,
        shear=list(shear),
        center=[0.0, 0.0],
        fill=_GREY * images_nchw.shape[1],
    )
    return moved


def _posterise(images_nchw: Tensor, bits: float) -> Tensor:
    return images_nchw & (255 - (255 >> round(bits)))


def _solarise(images_nchw: Tensor, threshold: float) -> Tensor:
    return torch.where(images_nchw >= threshold, 255 - images_nchw, images_nchw)


def _autocontrast(images_nchw: Tensor, _: float) -> Tensor:
    from torchvision.transforms.v2 import functional as v2  # heavy

    stretched: Tensor = v2.autocontrast(images_nchw)
    return stretched


def _equalise(images_nchw: Tensor, _: float) -> Tensor:
    from torchvision.transforms.v2 import functional as v2  # heavy

    levelled: Tensor = v2.equalize(images_nchw)
    return levelled


def _enhance(adjust: str) -> Callable[[Tensor, float], Tensor]:
    def apply(images_nchw: Tensor, strength: float) -> Tensor:
        from torchvision.transforms.v2 import functional as v2  # heavy

        changed: Tensor = getattr(v2, f"adjust_{adjust}")(images_nchw, 1 + strength)
        return changed

    return apply


_SHIFT = 150 / 331  # of the side, AutoAugment's largest

OPERATIONS = (
    Operation("invert", 0, _invert),
    Operation("rotate", 30 * 2 / 9, _rotate),
    Operation("shear y", 0.3 * 8 / 9, _shear_y, signed=True),
    Operation("posterise", 4, _posterise),
    Operation("autocontrast", 0, _autocontrast),
    Operation("saturation", 0.3, _enhance("saturation"), signed=True),
    Operation("sharpness", 0.9, _enhance("sharpness"), signed=True),
    Operation("equalise", 0, _equalise),
    Operation("contrast", 0.7, _enhance("contrast"), signed=True),
    Operation("translate y", _SHIFT * 3 / 9, _translate_y, signed=True),
    Operation("brightness", 0.6, _enhance("brightness"), signed=True),
    Operation("solarise", 256 - 256 * 2 / 9, _solarise),
    Operation("translate x", _SHIFT * 3 / 9, _translate_x, signed=True),
    Operation("shear x", 0.3 * 8 / 9, _shear_x, signed=True),
)
