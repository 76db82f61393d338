from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.core import plugins, specs
from edgekd.core.errors import DataError, UsageError
from edgekd.data import sources
from edgekd.data.images import ImageSet, Stored, image_set, overlap
from edgekd.data.pack import write_pack


def spec(source: str, **others: object) -> specs.Data:
    return specs.Data.model_validate({"source": source, **others})


def some(count: int, seed: int = 0, side: int = 4, names: str = "abcde") -> ImageSet:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    return image_set(Stored(pixels), np.arange(count) % len(names), names, "these")


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """100 training and 20 test images of five classes; no validation images."""
    write_pack(tmp_path / "pack.npz", {"train": some(100), "test": some(20, seed=1)}, "abcde")
    return f"pack:{tmp_path}/pack.npz"


def rows(images: ImageSet) -> set[int]:
    return set(images.rows.tolist())


def test_validation_images_are_cut_from_the_training_images_class_by_class(pack: str) -> None:
    found = sources.load(spec(pack, validation_ratio=0.2), seed=0)
    assert len(found.train) == 80
    assert np.bincount(found.validation.labels_n).tolist() == [4] * 5
    assert rows(found.train) | rows(found.validation) == set(range(100))


def test_the_cut_does_not_depend_on_the_runs_seed(pack: str) -> None:
    one, two = (sources.load(spec(pack), seed=seed) for seed in (0, 1))
    assert one.identity() == two.identity()


def test_the_cut_is_not_simply_the_first_images(pack: str) -> None:
    assert rows(sources.load(spec(pack), seed=0).validation) != set(range(10))


def test_train_images_limits_the_training_images_alone(pack: str) -> None:
    whole = sources.load(spec(pack), seed=0)
    found = sources.load(spec(pack, train_images=20), seed=0)
    assert np.bincount(found.train.labels_n).tolist() == [4] * 5
    assert rows(found.train) < rows(whole.train)
    assert found.validation.sha256 == whole.validation.sha256
    assert found.test.sha256 == whole.test.sha256


def test_train_images_are_drawn_by_the_runs_seed(pack: str) -> None:
    one, again, other = (sources.load(spec(pack, train_images=20), seed=s) for s in (3, 3, 4))
    assert one.train.sha256 == again.train.sha256
    assert one.train.sha256 != other.train.sha256


def test_a_limit_beyond_the_images_takes_all(pack: str) -> None:
    assert len(sources.load(spec(pack, train_images=500), seed=0).train) == 90


def test_a_limit_keeps_an_image_of_the_rarest_class(tmp_path: Path) -> None:
    common = image_set(some(40).pixels, [0] * 38 + [1] * 2, "ab", "these")
    write_pack(tmp_path / "pack.npz", {"train": common, "test": common}, "ab")
    found = sources.load(spec(f"pack:{tmp_path}/pack.npz", train_images=3), seed=0)
    assert found.train.labels_n.tolist() == [0, 0, 1]


def test_a_limit_below_one_image_of_each_class_is_refused(pack: str) -> None:
    with pytest.raises(DataError, match=r"train_images is 4, but there are 5 classes"):
        sources.load(spec(pack, train_images=4), seed=0)


def test_validation_images_that_the_source_brings_are_used(tmp_path: Path) -> None:
    sets = {"train": some(100), "validation": some(7, seed=2), "test": some(20, seed=1)}
    write_pack(tmp_path / "pack.npz", sets, "abcde")
    found = sources.load(spec(f"pack:{tmp_path}/pack.npz"), seed=0)
    assert (len(found.train), len(found.validation)) == (100, 7)
    assert found.validation.sha256 == sets["validation"].sha256


def test_one_set_is_the_very_set_of_the_whole_job(pack: str) -> None:
    whole = sources.load(spec(pack), seed=5)
    for split in ("train", "validation", "test"):
        alone = sources.load_images(pack, split, None)
        assert alone.sha256 == getattr(whole, split).sha256


def test_a_pack_of_one_set_can_be_evaluated_but_not_trained_on(
    tmp_path: Path, images: ImageSet
) -> None:
    write_pack(tmp_path / "pack.npz", images, images.class_names)
    source = f"pack:{tmp_path}/pack.npz"
    assert sources.load_images(source, "test", None).sha256 == images.sha256
    with pytest.raises(DataError, match=r"has no train images. It can be evaluated"):
        sources.load(spec(source), seed=0)
    with pytest.raises(DataError, match=r"has no train images"):
        sources.load_images(source, "validation", None)


def test_a_folder_without_val_says_where_the_test_images_belong(tmp_path: Path) -> None:
    (tmp_path / "train" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match=r"has no test images. A folder keeps them in 'val'"):
        sources.load(spec(f"folder:{tmp_path}"), seed=0)


def test_a_cut_that_leaves_no_training_images_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack.npz", {"train": some(1), "test": some(2)}, "abcde")
    with pytest.raises(DataError, match=r"none are left. Lower data.validation_ratio"):
        sources.load(spec(f"pack:{tmp_path}/pack.npz"), seed=0)


def test_identity_names_source_images_and_their_hashes(pack: str) -> None:
    found = sources.load(spec(pack), seed=0)
    identity = found.identity()
    assert identity.source == pack
    assert identity.images == {"train": 90, "validation": 10, "test": 20}
    assert identity.sha256["test"] == found.test.sha256
    assert len(set(identity.sha256.values())) == 3


def test_an_image_size_resizes_images_in_memory_and_keeps_their_identity(tmp_path: Path) -> None:
    sets = {"train": some(30, side=6), "test": some(10, 1, side=6)}
    write_pack(tmp_path / "pack.npz", sets, "abcde")
    source = f"pack:{tmp_path}/pack.npz"
    found = sources.load(spec(source, image_size=8), seed=0)
    assert found.train.shape == found.test.shape == (8, 8, 1)
    assert found.test.batch(np.arange(3)).shape == (3, 8, 8, 1)
    assert found.test.sha256 == sets["test"].sha256
    same = sources.load(spec(source, image_size=6), seed=0)
    assert (same.test.batch(np.arange(10)) == sets["test"].batch(np.arange(10))).all()


def test_resizing_an_array_does_what_torchvision_does(images: ImageSet, tmp_path: Path) -> None:
    from PIL import Image
    from torchvision import transforms

    write_pack(tmp_path / "pack.npz", images, images.class_names)
    found = sources.load_images(f"pack:{tmp_path}/pack.npz", "test", 14)
    as_torchvision = transforms.Compose([transforms.Resize(16), transforms.CenterCrop(14)])
    pixels: NDArray[np.uint8] = images.batch(np.array([3]))[0]
    expected = np.asarray(as_torchvision(Image.fromarray(pixels)))
    assert (found.batch(np.array([3]))[0] == expected).all()


def test_sets_of_different_shapes_are_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "pack.npz", {"train": some(30), "test": some(10, side=5)}, "abcde")
    with pytest.raises(DataError, match=r"test images are \[5, 5, 1\], the training images \[4, 4"):
        sources.load(spec(f"pack:{tmp_path}/pack.npz"), seed=0)


def test_sets_with_different_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Two:
        def read(self, split: str) -> ImageSet | None:
            names = {"train": "abcde", "test": "abcdf"}
            return some(10, names=names[split]) if split in names else None

    monkeypatch.setattr(sources, "Digits", Two)
    with pytest.raises(
        DataError, match=r"test images have the classes a, b, c, d, f, the training"
    ):
        sources.load(spec("digits"), seed=0)


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "folder", "pack"])
def test_a_source_without_its_place_is_told_its_form(kind: str) -> None:
    for source in (kind, f"{kind}:"):
        with pytest.raises(UsageError, match=rf"lacks its place; expected '{kind}:(DIR|FILE.npz)'"):
            sources.load_images(source, "test", None)


@pytest.mark.parametrize("source", ["digit", "", "digits:", "imagenet"])
def test_an_unknown_source_is_answered_with_those_there_are(source: str) -> None:
    with pytest.raises(
        UsageError, match=r"no source of images is called .* There are: cifar100:DIR"
    ):
        sources.load_images(source, "test", None)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'digits'"):
        sources.load_images("digit", "test", None)


def test_the_list_of_sources_can_be_read_without_importing_them() -> None:
    assert plugins.literal("edgekd.data.sources", "SOURCES") == sources.SOURCES


def test_digits_ignore_the_ratio_because_they_bring_their_own_validation_images() -> None:
    found = sources.load(spec("digits", validation_ratio=0.5), seed=0)
    assert (len(found.train), len(found.validation), len(found.test)) == (897, 180, 720)


@pytest.mark.slow
def test_the_real_cifar10_has_no_image_in_two_sets(real_cifar10: Path) -> None:
    found = sources.load(spec(f"cifar10:{real_cifar10}"), seed=0)
    assert found.identity().images == {"train": 50000, "validation": 2000, "test": 8000}
    assert overlap(found.test, found.train) == 0
    assert overlap(found.test, found.validation) == 0
