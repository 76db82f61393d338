import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.core.errors import DataError
from edgekd.data import images as images_module
from edgekd.data.folder import Folder
from edgekd.data.images import ImageSet, overlap


def picture(path: Path, size: tuple[int, int] = (40, 30), mode: str = "RGB", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode="RGBA" if mode == "RGBA" else None).save(path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two classes, three training images and two test images."""
    for seed, name in enumerate(
        ("train/bee/2.png", "train/ant/1.png", "train/bee/1.png", "val/ant/3.png", "val/bee/4.png")
    ):
        picture(tmp_path / name, seed=seed)
    return tmp_path


def read(place: Path, split: str = "train", size: int | None = 16) -> ImageSet:
    found = Folder(place, size).read(split)
    assert found is not None
    return found


def test_classes_and_images_come_in_the_order_of_their_names(place: Path) -> None:
    train = read(place)
    assert train.class_names == ("ant", "bee")
    assert train.labels_n.tolist() == [0, 1, 1]
    alone = [
        hashlib.sha256((place / f"train/{name}").read_bytes()).digest()
        for name in ("ant/1.png", "bee/1.png", "bee/2.png")
    ]
    assert train.digests_n.tobytes() == b"".join(alone)


def test_val_is_the_test_set_and_validation_is_there_only_as_a_folder(place: Path) -> None:
    assert read(place, "test").labels_n.tolist() == [0, 1]
    assert Folder(place, 16).read("validation") is None
    for name in ("ant", "bee"):
        picture(place / "validation" / name / "1.png")
    assert len(read(place, "validation")) == 2


@pytest.mark.parametrize("size", [(40, 30), (30, 47), (300, 7), (16, 17), (64, 64)])
def test_images_are_resized_and_cut_exactly_as_torchvision_does(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    from torchvision import transforms

    path = picture(tmp_path / "val/ant/1.png", size)
    picture(tmp_path / "val/bee/1.png", size)
    as_torchvision = transforms.Compose([transforms.Resize(18), transforms.CenterCrop(16)])
    with Image.open(path) as image:
        expected = np.asarray(as_torchvision(image.convert("RGB")))
    assert (read(tmp_path, "test").batch(np.array([0]))[0] == expected).all()


def test_the_size_is_224_if_none_is_given(place: Path) -> None:
    assert read(place, size=None).shape == (224, 224, 3)
    assert read(place, size=None).batch(np.array([1])).shape == (1, 224, 224, 3)


def test_an_image_of_the_very_size_is_left_as_it_is(tmp_path: Path) -> None:
    path = picture(tmp_path / "val/ant/1.png", (16, 16))
    picture(tmp_path / "val/bee/1.png", (16, 16))
    with Image.open(path) as image:
        assert (read(tmp_path, "test").batch(np.array([0]))[0] == np.asarray(image)).all()


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_images_become_rgb(tmp_path: Path, mode: str) -> None:
    path = picture(tmp_path / "val/ant/1.png", (16, 16), mode)
    picture(tmp_path / "val/bee/1.png", (16, 16))
    with Image.open(path) as image:
        pixels = np.asarray(image)
    expected = pixels[..., :3] if mode == "RGBA" else np.repeat(pixels[..., None], 3, axis=2)
    assert (read(tmp_path, "test").batch(np.array([0]))[0] == expected).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_an_image_of_more_than_8_bits_is_refused(place: Path, dtype: type) -> None:
    path = place / "val/bee/5.tiff"
    Image.fromarray(np.full((16, 16), 40000, dtype)).save(path)
    with pytest.raises(DataError, match=r"5\.tiff' has more than 8 bits"):
        read(place, "test").batch(np.array([2]))


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "webp", "ppm"])
def test_a_truncated_image_is_named(place: Path, kind: str) -> None:
    path = picture(place / f"val/bee/5.{kind}", (64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    images = read(place, "test")
    assert images.batch(np.array([0, 1])).shape == (2, 16, 16, 3)
    with pytest.raises(DataError, match=rf"bee/5\.{kind}' cannot be read as an image"):
        images.batch(np.array([0, 1, 2]))


def test_what_is_no_image_but_is_called_so_is_named(place: Path) -> None:
    (place / "val/bee/5.jpg").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"bee/5\.jpg' cannot be read as an image"):
        read(place, "test").batch(np.array([2]))


def test_a_decompression_bomb_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"cannot be read as an image: .*decompression bomb"):
        read(place, "test").batch(np.array([0]))


def test_an_empty_class_folder_is_named(place: Path) -> None:
    (place / "val/ant/3.png").unlink()
    with pytest.raises(DataError, match=r"class folder '.*val/ant' has no images; expected \.bmp"):
        read(place, "test")


def test_class_folders_that_differ_are_named(place: Path) -> None:
    picture(place / "train/cow/1.png")
    with pytest.raises(DataError, match=r"class folders, 1 in all: 'cow' is only in 'train'"):
        Folder(place, 16)
    picture(place / "val/cow/1.png")
    picture(place / "val/dog/1.png")
    with pytest.raises(DataError, match=r"'dog' is only in 'val'"):
        Folder(place, 16)


def test_class_folders_without_train_or_val_above_them_are_an_error(place: Path) -> None:
    with pytest.raises(DataError, match=r"no folder 'train' or 'val'; .* It has: ant, bee"):
        Folder(place / "train", 16)


def test_a_missing_folder_and_one_without_classes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder '.*nowhere'"):
        Folder(tmp_path / "nowhere", 16)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=r"'.*val' has no class folders"):
        Folder(tmp_path, 16).read("test")


def test_hidden_files_are_passed_over_and_others_are_told(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "val/ant/._3.png").write_bytes(b"\x00\x05\x16\x07")
    (place / "val/.cache").mkdir()
    (place / "val/ant/4.heic").write_bytes(b"heic")
    with caplog.at_level(logging.WARNING):
        images = read(place, "test")
    assert len(images) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"'{place}/val/ant': not images (1), as '4.heic'"
    ]


@pytest.mark.parametrize(("size", "told"), [(200, True), (199, False), (16, False)])
def test_thumbnails_that_are_blown_up_are_told_once(
    place: Path, caplog: pytest.LogCaptureFixture, size: int, *, told: bool
) -> None:
    folder = Folder(place, size)
    folder.read("test")
    folder.read("train")
    found = [record.getMessage() for record in caplog.records]
    whole = "40 x 30 pixels and is enlarged to 200 x 200, which costs 33 times as much"
    assert len(found) == told
    assert all(whole in message for message in found)


def test_images_in_folders_below_a_class_belong_to_it(place: Path) -> None:
    picture(place / "val/ant/deep/er/1.JPG")
    assert read(place, "test").labels_n.tolist() == [0, 0, 1]


def test_sha256_is_over_the_files_bytes_whatever_the_size(place: Path) -> None:
    assert read(place).sha256 == read(place, size=24).sha256
    before = read(place).sha256
    with (place / "train/ant/1.png").open("ab") as file:
        file.write(b"!")
    assert read(place).sha256 != before


def test_an_image_that_is_in_two_sets_is_found(place: Path) -> None:
    assert overlap(read(place, "test"), read(place)) == 0
    (place / "val/ant/9.png").write_bytes((place / "train/bee/2.png").read_bytes())
    assert overlap(read(place, "test"), read(place)) == 1


def test_a_set_beyond_the_memory_limit_gives_the_same_pixels(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = read(place).batch(np.arange(3))
    monkeypatch.setattr(images_module, "MEMORY_LIMIT_BYTES", 1)
    assert (read(place).batch(np.arange(3)) == kept).all()


@pytest.mark.slow
def test_the_real_tiny_imagenet_is_read_at_its_own_size(real_tiny_imagenet: Path) -> None:
    train, test = (read(real_tiny_imagenet, split, 64) for split in ("train", "test"))
    assert np.bincount(train.labels_n).tolist() == [500] * 40
    assert np.bincount(test.labels_n).tolist() == [50] * 40
    pixels = test.batch(np.arange(len(test)))
    with Image.open(sorted((real_tiny_imagenet / "val").glob("*/*"))[7]) as image:
        assert (pixels[7] == np.asarray(image.convert("RGB"))).all()
    assert overlap(test, train) == 0
