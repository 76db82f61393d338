import io

import numpy as np
import pytest
from PIL import Image

from edgekd.data import png


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 1), (7, 2, 3)])
def test_another_reader_gets_the_same_pixels(shape: tuple[int, int, int]) -> None:
    pixels_hwc = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png.encode(pixels_hwc))) as image:
        image.verify()
    with Image.open(io.BytesIO(png.encode(pixels_hwc))) as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image).reshape(shape), pixels_hwc)


def test_each_pixel_of_a_smaller_image_is_the_mean_of_a_block() -> None:
    pixels_hwc = np.array([[[0], [10]], [[20], [30]]], dtype=np.uint8)
    assert png.shrink(pixels_hwc, 1).tolist() == [[[15]]]


@pytest.mark.parametrize("size", [(80, 80), (81, 80), (333, 500), (1, 400), (160, 7)])
def test_no_side_is_longer_than_allowed(size: tuple[int, int]) -> None:
    smaller = png.shrink(np.full((*size, 3), 200, dtype=np.uint8), 80)
    assert max(smaller.shape) <= 80
    assert min(smaller.shape) >= 1
    assert (smaller == 200).all()


def test_what_is_small_enough_stays_as_it_is() -> None:
    pixels_hwc = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    assert np.array_equal(png.shrink(pixels_hwc, 80), pixels_hwc)
