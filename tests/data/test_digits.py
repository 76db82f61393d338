import numpy as np
from sklearn.datasets import load_digits

from edgekd.core.records import Split
from edgekd.data.digits import Digits
from edgekd.data.images import ImageSet, overlap


def sets() -> dict[Split, ImageSet]:
    digits = Digits()
    return {
        "train": digits.read("train"),
        "validation": digits.read("validation"),
        "test": digits.read("test"),
    }


def test_the_sets_have_the_promised_sizes_and_share_no_image() -> None:
    found = sets()
    assert {split: len(part) for split, part in found.items()} == {
        "train": 897,
        "validation": 180,
        "test": 720,
    }
    rows = np.concatenate([part.rows for part in found.values()])
    assert sorted(rows.tolist()) == list(range(1797))


def test_no_image_occurs_in_two_sets_bit_by_bit() -> None:
    found = sets()
    assert overlap(found["test"], found["train"]) == 0
    assert overlap(found["test"], found["validation"]) == 0
    assert overlap(found["validation"], found["train"]) == 0


def test_every_class_keeps_its_share_in_every_set() -> None:
    found = sets()
    whole = np.bincount(np.concatenate([part.labels_n for part in found.values()])) / 1797
    for part in found.values():
        share = np.bincount(part.labels_n) / len(part)
        assert np.abs(share - whole).max() < 1 / len(part)


def test_pixels_are_the_published_ones_stretched_to_eight_bits() -> None:
    published = load_digits().images
    test = sets()["test"]
    pixels_nhwc = test.batch(np.arange(len(test)))
    assert pixels_nhwc.shape == (720, 8, 8, 1)
    assert pixels_nhwc.max() == 255
    assert (np.rint(pixels_nhwc[..., 0] * (16 / 255)) == published[test.rows]).all()


def test_the_split_is_the_same_for_ever() -> None:
    # Pinned: accuracies on these images are compared over years and machines.
    assert sets()["test"].sha256[:16] == "c719cd26143cdd39"
