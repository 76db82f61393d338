"""Bring images to one size with Pillow, as networks for ImageNet are evaluated."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekd.core import extras
from edgekd.data.images import Decoded, ImageSet

if TYPE_CHECKING:
    from PIL.Image import Image

# 256/224 is the usual ratio of the resized shorter side to the crop.
_RESIZE, _CROP = 256, 224

DEEP_MODES = ("I", "F")  # more than 8 bits: Pillow's conversion to RGB would cut off at 255


def fit(image: "Image", size: int) -> NDArray[np.uint8]:
    """Resize the shorter side to size * 256/224 (rounded, bilinear) and cut out the centre.

    An image of size x size pixels is left as it is: small images are used as they were published.

    Returns:
        uint8 [size, size, C]: C = 1 for a grey image (mode "L"), else 3.

    Source: torchvision's ``Resize`` and ``CenterCrop``, whose rounding is followed.
    """
    from PIL import Image as Pillow

    if image.size != (size, size):
        shorter = round(size * _RESIZE / _CROP)
        width, height = image.size
        if width <= height:
            width, height = shorter, int(shorter * height / width)
        else:
            width, height = int(shorter * width / height), shorter
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.resize((width, height), Pillow.Resampling.BILINEAR)
        image = image.crop((left, top, left + size, top + size))
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]  # noqa: PLR2004


def as_image(pixels: NDArray[np.uint8]) -> "Image":
    """Make a PIL image of uint8 [H, W, C]; C = 1 gives a grey one."""
    from PIL import Image as Pillow

    return Pillow.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def resized(images: ImageSet, size: int | None) -> ImageSet:
    """Bring a set to ``size`` x ``size`` pixels; None: as it is.

    The SHA-256 stays that of the images as they were.

    Raises:
        EnvironmentMissingError: Pillow is missing, and the size changes.
    """
    height, width, channels = images.shape
    if size is None or (height, width) == (size, size):
        return images
    extras.require("PIL", "train", "to resize images")

    def decode(row: int) -> NDArray[np.uint8]:
        return fit(as_image(images.pixels.batch(np.array([row]))[0]), size)

    def digest(row: int) -> bytes:
        return images.pixels.digests(np.array([row])).tobytes()

    pixels = Decoded(len(images.pixels), (size, size, channels), decode, digest)
    return ImageSet(pixels, images.rows, images.labels_n, images.class_names)
