"""Which images a model has right, and how two models compare on the same ones. Needs only numpy."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records, statistics
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy, Interval

# What numpy and zipfile raise for damaged, encrypted or exotic archives.
_UNREADABLE = (
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def correct(record: Accuracy, folder: Path) -> NDArray[np.bool_]:
    """Return which images are classified as labelled, [N], in the order of the image set.

    Args:
        record: says what the file must be.
        folder: where the record and its file lie.

    Raises:
        RecordError: the file is missing, was changed, or does not say what the record says.
    """
    labels_n, predictions_n = labelled(record, folder)
    return np.asarray(labels_n == predictions_n)


def labelled(record: Accuracy, folder: Path) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Return labels and predictions, [N] each, in the order of the image set.

    Raises:
        RecordError: the file is missing, was changed, or does not say what the record says.
    """
    path = folder / record.predictions_file
    records.check_file(path, record.predictions_sha256)
    labels_n, predictions_n = _read(path)
    images, correct = len(labels_n), int((labels_n == predictions_n).sum())
    if images != record.images or correct != record.correct:
        raise RecordError(
            f"'{path}' has {correct} of {images} images right, but its record "
            f"says {record.correct} of {record.images}: evaluate '{record.subject}' again"
        )
    if images == 0:
        raise RecordError(f"'{path}' has no images: evaluate '{record.subject}' on some")
    return labels_n, predictions_n


def in_top5(record: Accuracy, folder: Path) -> NDArray[np.bool_]:
    """Return for which images the label is among the five likeliest classes, [N].

    Raises:
        RecordError: as in ``labelled``, or the file does not say: fewer than 6 classes, or older.
    """
    path = folder / record.predictions_file
    labels_n, _ = labelled(record, folder)
    hits_n = _arrays(path).get("top5")
    if hits_n is None or hits_n.dtype != np.bool_ or hits_n.shape != labels_n.shape:
        raise RecordError(
            f"'{path}' does not say which images are among the first five: evaluate "
            f"'{record.subject}' again; it takes 6 classes or more"
        )
    return np.asarray(hits_n, dtype=np.bool_)


def discordant(reference_n: NDArray[np.bool_], subject_n: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many images only the reference has right (lost), and only the subject (gained)."""
    return int((reference_n & ~subject_n).sum()), int((subject_n & ~reference_n).sum())


def drop_pp(
    reference_n: NDArray[np.bool_], subject_n: NDArray[np.bool_], confidence: float
) -> Interval:
    """Return how far the subject's top-1 lies below the reference's, in pp, paired by image."""
    lost, gained = discordant(reference_n, subject_n)
    drop = statistics.paired_difference(lost, gained, len(reference_n), confidence)
    return in_pp(drop)


def in_pp(ratio: Interval) -> Interval:
    """Return ratios as percent, or their differences as percentage points."""
    low, value, high = (100 * end for end in (ratio.low, ratio.value, ratio.high))
    return Interval(value=value, low=low, high=high, confidence=ratio.confidence)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # np.load takes other files too: a plain array, or nothing at all.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            return dict(file)
    except _UNREADABLE as error:
        raise RecordError(
            f"'{path}' is not a file of labels and predictions (.npz): {error}"
        ) from error


def _read(path: Path) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    arrays = _arrays(path)
    if not {"labels", "predictions"} <= arrays.keys():
        raise RecordError(
            f"'{path}' is not a file of labels and predictions (.npz): it has "
            f"{', '.join(sorted(arrays)) or 'nothing'}"
        )
    labels_n, predictions_n = arrays["labels"], arrays["predictions"]
    for array in (labels_n, predictions_n):
        # A NaN cannot hide in whole numbers.
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise RecordError(
                f"'{path}' must hold one whole number for each image, "
                f"but holds {array.dtype} of shape {array.shape}"
            )
    if labels_n.shape != predictions_n.shape:
        raise RecordError(
            f"'{path}' has {len(labels_n)} labels, but {len(predictions_n)} predictions"
        )
    return labels_n, predictions_n
