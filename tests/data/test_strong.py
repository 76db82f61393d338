import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core.errors import DataError
from edgekd.data.strong import OPERATIONS, Strong

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def pixels(count: int = 24, side: int = 10, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (count, side, side, channels)
    return torch.randint(20, 230, shape, generator=generator, dtype=torch.uint8)


def ramp() -> Tensor:
    """Return one grey image [1, 1, 8, 8] with its columns at 0, 10 ... 70."""
    return (10 * torch.arange(8, dtype=torch.uint8)).expand(1, 1, 8, 8).contiguous()


def apply(name: str, images_nchw: Tensor, sign: int = 1) -> Tensor:
    return BY_NAME[name].apply(images_nchw, sign * BY_NAME[name].strength)


def test_there_are_fourteen_operations() -> None:
    assert len(BY_NAME) == len(OPERATIONS) == 14


def test_probability_zero_changes_nothing() -> None:
    images = pixels()
    found = Strong(0.0, 24, 0).view(0).apply(images, np.arange(24))
    assert torch.equal(found, images)
    assert found.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("channels", [1, 3])
def test_probability_one_applies_every_operation_in_order(channels: int) -> None:
    images = pixels(1, channels=channels)
    strong = Strong(1.0, 1, 3)
    view = strong.view(5)
    expected = images.permute(0, 3, 1, 2)
    for operation, negative in zip(OPERATIONS, view._negative[:, 0], strict=True):
        sign = -1 if operation.signed and negative else 1
        expected = operation.apply(expected, sign * operation.strength)
    found = view.apply(images, np.arange(1))
    assert torch.equal(found, expected.permute(0, 2, 3, 1))
    assert not torch.equal(found, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_result_has_shape_type_and_layout_of_pixels(channels: int) -> None:
    images = pixels(channels=channels)
    before = images.clone()
    found = Strong(0.5, 24, 0).view(0).apply(images, np.arange(24))
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    assert found.is_contiguous()
    assert torch.equal(images, before)
    assert not torch.equal(found, images)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=30), st.sampled_from([1, 3]))
def test_an_image_does_not_depend_on_the_batch_that_it_is_in(ids: list[int], channels: int) -> None:
    images, view = pixels(channels=channels), Strong(0.5, 24, 7).view(2)
    together = view.apply(images, np.arange(24))
    chosen = np.array(ids)
    assert torch.equal(view.apply(images[chosen], chosen), together[chosen])


def test_a_view_is_the_same_at_every_call_and_another_for_another_seed_or_number() -> None:
    def look(seed: int, v: int) -> Tensor:
        return Strong(0.5, 24, seed).view(v).apply(pixels(), np.arange(24))

    assert torch.equal(look(0, 1), look(0, 1))
    assert not torch.equal(look(0, 1), look(0, 2))
    assert not torch.equal(look(0, 1), look(1, 1))


@pytest.mark.parametrize("probability", [0.2, 0.5])
def test_operations_happen_with_the_probability_each_on_its_own(probability: float) -> None:
    happens = Strong(probability, 20_000, 0).view(0)._happens
    # Five standard deviations of a share of 20 000.
    assert abs(happens.mean(axis=1) - probability).max() < 5 * 0.5 / 20_000**0.5
    together = np.corrcoef(happens)
    assert abs(together - np.eye(14)).max() < 5 / 20_000**0.5


@pytest.mark.parametrize("name", BY_NAME)
def test_every_operation_changes_an_ordinary_image(name: str) -> None:
    images = pixels(2, side=16).permute(0, 3, 1, 2)
    assert not torch.equal(apply(name, images), images)


@pytest.mark.parametrize("name", [name for name in BY_NAME if BY_NAME[name].signed])
def test_a_sign_makes_a_difference(name: str) -> None:
    images = pixels(2, side=16).permute(0, 3, 1, 2)
    assert not torch.equal(apply(name, images, -1), apply(name, images, 1))


def test_invert_posterise_and_solarise_match_values_worked_out_by_hand() -> None:
    values = torch.tensor([0, 15, 16, 199, 200, 255], dtype=torch.uint8).view(1, 1, 1, -1)
    assert apply("invert", values).flatten().tolist() == [255, 240, 239, 56, 55, 0]
    assert apply("posterise", values).flatten().tolist() == [0, 0, 16, 192, 192, 240]
    # 256 * 7 / 9 = 199.1: from 200 on
    assert apply("solarise", values).flatten().tolist() == [0, 15, 16, 199, 55, 0]


def test_brightness_and_contrast_match_values_worked_out_by_hand() -> None:
    values = torch.tensor([50, 150], dtype=torch.uint8).view(1, 1, 1, 2)
    assert apply("brightness", values).flatten().tolist() == [80, 240]
    assert apply("brightness", values, -1).flatten().tolist() == [20, 60]
    # Mean 100: 100 -+ 1.7 * 50
    assert apply("contrast", values).flatten().tolist() == [15, 185]
    assert apply("contrast", values, -1).flatten().tolist() == [85, 115]


def test_translation_moves_by_whole_pixels_and_uncovers_grey() -> None:
    # 150 / 331 / 3 of 8 columns: 1.2, so one pixel
    moved = apply("translate x", ramp())
    assert moved[0, 0, 3].tolist() == [128, 0, 10, 20, 30, 40, 50, 60]
    back = apply("translate x", ramp(), -1)
    assert back[0, 0, 3].tolist() == [10, 20, 30, 40, 50, 60, 70, 128]
    down = apply("translate y", ramp().transpose(2, 3))
    assert down[0, 0, :, 3].tolist() == [128, 0, 10, 20, 30, 40, 50, 60]


def test_shear_moves_rows_in_proportion_to_their_number() -> None:
    sheared = apply("shear x", ramp())[0, 0]
    first, last = sheared[0].int(), sheared[7].int()
    assert first.tolist() == ramp()[0, 0, 0].tolist()
    # Row 7: 0.267 * 7.5 = 2.0 columns
    steps = {int(value) for value in (ramp()[0, 0, 7].int() - last)[2:6]}
    assert steps in ({20}, {-20})


def test_rotation_keeps_the_middle_and_greys_the_corners() -> None:
    turned = apply("rotate", torch.zeros(1, 3, 33, 33, dtype=torch.uint8))
    assert turned[0, :, 16, 16].tolist() == [0, 0, 0]
    assert turned[0, :, 0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("name", BY_NAME)
def test_grey_images_are_changed_but_for_their_saturation(name: str) -> None:
    images = pixels(2, side=16, channels=1).permute(0, 3, 1, 2)
    changed = apply(name, images)
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, images) == (name == "saturation")


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_its_range_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\]"):
        Strong(probability, 1, 0)


@pytest.mark.parametrize("images", [pixels().float(), pixels(channels=2)])
def test_other_pixels_are_refused(images: Tensor) -> None:
    with pytest.raises(DataError, match="uint8 with 1 or 3"):
        Strong(0.5, 24, 0).view(0).apply(images, np.arange(24))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_nearly_the_same_images() -> None:
    view, ids = Strong(0.5, 24, 0).view(0), np.arange(24)
    found = view.apply(pixels().cuda(), ids)
    assert found.is_cuda
    same = (found.cpu() == view.apply(pixels(), ids)).float().mean()
    assert same > 0.9  # equalising and rounding spread a difference of one
