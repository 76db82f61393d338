import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import Normalize, RandomResizedCrop

from edgekd.core.errors import DataError, UsageError
from edgekd.core.records import Normalisation
from edgekd.data.augment import Augment, _stretch, normalise

NORMALISATION = Normalisation(mean=(0.5, 0.25, 0.75), std=(0.5, 0.25, 0.2))
BLACK = torch.tensor([-1.0, -1.0, -3.75])  # -mean / std
KINDS = ["none", "shift", "crop-flip", "resized-crop"]


def pixels(count: int = 40, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, side, side, 3), generator=generator, dtype=torch.uint8)


def normalised(count: int = 40, side: int = 12, *, channels_last: bool = False) -> Tensor:
    return normalise(pixels(count, side), NORMALISATION, "cpu", channels_last)


def augment(kind: str, images: int = 40, seed: int = 0) -> Augment:
    return Augment(kind, images, seed, normalisation=NORMALISATION)


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """Move an image [C, H, W]; what is uncovered is black. Pixel by pixel, to be sure."""
    result = BLACK[:, None, None].expand_as(image).clone()
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = image[:, y - down, x - right]
    return result


def test_normalised_values_match_those_worked_out_by_hand() -> None:
    images = np.array([[[[255, 0, 51]]]], np.uint8)  # 1, 0, 0.2
    found = normalise(images, NORMALISATION, "cpu")
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([1.0, -1.0, -2.75], abs=1e-6)


def test_normalising_agrees_with_torchvision() -> None:
    transform = Normalize(NORMALISATION.mean, NORMALISATION.std)
    expected = transform(pixels().permute(0, 3, 1, 2) / 255)
    assert torch.allclose(normalised(), expected, atol=1e-6)  # a rounding or two of float32


def test_the_images_given_to_normalise_stay_as_they_are() -> None:
    images = pixels()
    before = images.clone()
    normalise(images, NORMALISATION, "cpu")
    assert (images == before).all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_and_every_view_keep_the_layout(*, channels_last: bool) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = normalised(channels_last=channels_last)
    assert images.is_contiguous(memory_format=layout)
    for kind in KINDS:
        view = augment(kind).view(0).apply(images, torch.arange(40))
        assert view.shape == images.shape
        assert view.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("kind", KINDS)
def test_both_layouts_give_the_same_pixels(kind: str) -> None:
    ids = torch.arange(40)
    one, two = (
        augment(kind).view(2).apply(normalised(channels_last=last), ids) for last in (False, True)
    )
    # Interpolation sums its four terms in another order.
    assert torch.allclose(one, two, atol=1e-5 if kind == "resized-crop" else 0, rtol=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 8, 8, 3), r"torch.float32 \[2, 8, 8, 3\]; expected uint8"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), r"expected uint8 \[N, H, W, C\]"),
        (torch.zeros(2, 8, 8, 1, dtype=torch.uint8), "have 1 channels, but the model takes 3"),
    ],
)
def test_images_that_do_not_fit_the_normalisation_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        normalise(images, NORMALISATION, "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_samples_pixels_do_not_depend_on_its_batch(kind: str) -> None:
    images = normalised()
    whole = augment(kind).view(3).apply(images, torch.arange(40))
    for ids in ([7], [39, 0, 7], list(range(5, 28)), [7, 7]):
        part = augment(kind).view(3).apply(images[ids], torch.tensor(ids))
        assert torch.equal(part, whole[ids])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_views_and_seeds_differ_and_come_back(kind: str) -> None:
    images, ids = normalised(), torch.arange(40)
    one = augment(kind).view(0).apply(images, ids)
    assert torch.equal(augment(kind).view(0).apply(images, ids), one)
    assert not torch.equal(augment(kind).view(1).apply(images, ids), one)
    assert not torch.equal(augment(kind, seed=1).view(0).apply(images, ids), one)


def test_seed_and_view_do_not_add_up() -> None:
    # A generator seeded by seed + view would give run 1's first view to run 0's second.
    images, ids = normalised(), torch.arange(40)
    one = augment("crop-flip", seed=0).view(1).apply(images, ids)
    assert not torch.equal(augment("crop-flip", seed=1).view(0).apply(images, ids), one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_images_given_to_a_view_stay_as_they_are(kind: str) -> None:
    images = normalised()
    before = images.clone()
    augment(kind).view(0).apply(images, torch.arange(40))
    assert torch.equal(images, before)


def test_none_leaves_the_images_alone() -> None:
    images = normalised()
    assert augment("none").view(5).apply(images, torch.arange(40)) is images


def test_a_shift_moves_by_one_pixel_at_most_in_all_nine_ways_and_never_flips() -> None:
    image = normalised(1)[0]
    count = 500
    found = (
        augment("shift", count).view(0).apply(image.expand(count, -1, -1, -1), torch.arange(count))
    )
    ways = [moved(image, down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    counts = [sum(torch.equal(way, one) for one in found) for way in ways]
    assert sum(counts) == count
    assert min(counts) > count / 9 / 2


def test_a_crop_moves_by_four_pixels_at_most_on_black_and_half_are_flipped() -> None:
    image = normalised(1)[0]
    count = 1000
    images = image.expand(count, -1, -1, -1)
    found = augment("crop-flip", count).view(0).apply(images, torch.arange(count))
    ways = {}
    for down in range(-4, 5):
        for right in range(-4, 5):
            way = moved(image, down, right)
            ways[way.numpy().tobytes()] = (down, right, False)
            ways[way.flip(2).contiguous().numpy().tobytes()] = (down, right, True)
    drawn = [ways[one.contiguous().numpy().tobytes()] for one in found]  # a KeyError: another way
    flipped = sum(flip for _, _, flip in drawn)
    assert {down for down, _, _ in drawn} == {right for _, right, _ in drawn} == set(range(-4, 5))
    assert abs(flipped - count / 2) < 4 * (count / 4) ** 0.5  # four standard deviations


def test_what_a_move_uncovers_is_the_normalised_black_pixel() -> None:
    white = normalise(torch.full((200, 6, 6, 3), 255, dtype=torch.uint8), NORMALISATION, "cpu")
    found = augment("crop-flip", 200).view(0).apply(white, torch.arange(200))
    expected = normalise(torch.zeros(1, 1, 1, 3, dtype=torch.uint8), NORMALISATION, "cpu")
    for channel in range(3):
        values = found[:, channel].unique()
        assert values.tolist() == [expected[0, channel].item(), white[0, channel, 0, 0].item()]


def test_a_resized_crop_of_a_slope_stays_within_it_and_is_magnified() -> None:
    # Pixel (y, x) has the value x: a crop of width w has the slope w, flipped or not.
    side, count = 32, 400
    slope = torch.arange(side, dtype=torch.float32).expand(count, 3, side, side)
    found = augment("resized-crop", count).view(0).apply(slope, torch.arange(count))
    rows = found[:, 0, side // 2, :]
    width = (rows[:, side // 2 + 2] - rows[:, side // 2 - 2]) / 4
    assert found.min() >= 0
    assert found.max() <= side - 1
    # sqrt(0.08 * 3/4) is the least width there is; 1 the largest.
    assert 0.24 < width.abs().min() < 0.4
    assert 0.9 < width.abs().max() <= 1 + 1e-4
    assert 0.4 < (width < 0).float().mean() < 0.6


def test_stretching_a_box_matches_values_worked_out_by_hand() -> None:
    # Four pixels a row; the right half is stretched to the whole: sampled at 1.75, 2.25, 2.75 and,
    # beyond the last pixel's middle, 3.25 -> 3.
    rows = torch.arange(4.0).expand(3, 1, 4, 4)
    box = torch.tensor([[0.5, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]])
    found = _stretch(rows, box, torch.tensor([False, True, False]))
    assert found[0, 0, 2].tolist() == pytest.approx([1.75, 2.25, 2.75, 3.0])
    assert found[1, 0, 2].tolist() == pytest.approx([3.0, 2.75, 2.25, 1.75])
    assert found[2, 0, 2].tolist() == pytest.approx([0.0, 1.0, 2.0, 3.0])


def test_a_resized_crop_shows_the_same_share_of_the_area_as_torchvisions() -> None:
    count, side = 2000, 64
    y, x = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    field = torch.stack([x, y, x]).expand(count, 3, side, side)
    found = augment("resized-crop", count).view(0).apply(field, torch.arange(count))
    middle = slice(side // 2 - 1, side // 2 + 1)
    wide = found[:, 0, side // 2, middle].diff().abs().flatten()
    high = found[:, 1, middle, side // 2].diff().abs().flatten()
    area = (wide * high).sort().values
    torch.manual_seed(0)
    draws = [RandomResizedCrop.get_params(field[0], [0.08, 1.0], [3 / 4, 4 / 3]) for _ in found]
    theirs = torch.tensor([height * width / side**2 for _, _, height, width in draws])
    # Two samples of 2,000 from one distribution; whole pixels round theirs.
    assert (area - theirs.sort().values).abs().max() < 0.06


@pytest.mark.parametrize("kind", KINDS[1:])
def test_one_channel_will_do(kind: str) -> None:
    grey = Normalisation(mean=(0.305,), std=(0.376,))
    images = normalise(pixels()[..., :1], grey, "cpu")
    found = Augment(kind, 40, 0, normalisation=grey).view(0).apply(images, torch.arange(40))
    assert found.shape == images.shape
    assert not torch.equal(found, images)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_need_not_be_square(kind: str) -> None:
    images = normalise(pixels()[:, :7], NORMALISATION, "cpu")
    assert augment(kind).view(0).apply(images, torch.arange(40)).shape == (40, 3, 7, 12)


def test_an_unknown_kind_is_answered_with_a_near_one() -> None:
    with pytest.raises(UsageError, match=r"'crop_flip'. Did you mean 'crop-flip'"):
        augment("crop_flip")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_same_view(kind: str) -> None:
    ids = torch.arange(40)
    on_cpu = augment(kind).view(1).apply(normalised(), ids)
    images = normalise(pixels(), NORMALISATION, "cuda")
    on_gpu = augment(kind).view(1).apply(images, ids)
    assert on_gpu.device.type == "cuda"
    assert torch.allclose(on_gpu.cpu(), on_cpu, atol=1e-4)
