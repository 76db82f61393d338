"""scikit-learn's 1,797 handwritten digits, 8x8 grey pixels: small, bundled, offline."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgekd.core import extras
from edgekd.core.records import Split
from edgekd.data.draw import draw
from edgekd.data.images import ImageSet, Stored, image_set

_BRIGHTEST = 16  # the published range is 0 to 16
_TEST_IMAGES, _VALIDATION_IMAGES = 720, 180
_SEED = 0  # of the split, whatever the run's seed is: results of all runs can be compared


class Digits:
    """720 test, 180 validation and 897 training images, each with its share of every class."""

    def __init__(self) -> None:
        extras.require("sklearn", "train", "for the digits images")

    def read(self, split: Split) -> ImageSet:
        """Return one of the three sets."""
        return self._all.take(self._rows[split])

    @cached_property
    def _all(self) -> ImageSet:
        from sklearn.datasets import load_digits  # takes a second

        found = load_digits()
        scaled = np.rint(found.images * (255 / _BRIGHTEST)).astype(np.uint8)
        names = [str(name) for name in found.target_names]
        return image_set(Stored(scaled[..., np.newaxis]), found.target, names, "'digits'")

    @cached_property
    def _rows(self) -> dict[Split, NDArray[np.int64]]:
        labels_n = self._all.labels_n
        generator = np.random.default_rng(_SEED)
        test = draw(labels_n, _TEST_IMAGES, generator)
        rest = np.setdiff1d(np.arange(len(labels_n)), test)
        validation = rest[draw(labels_n[rest], _VALIDATION_IMAGES, generator)]
        train = np.setdiff1d(rest, validation)
        return {"train": train, "validation": validation, "test": test}
