"""How many images a model classifies rightly, and which: predictions are kept for pairing.

Letters: N images, K classes, H, W, C height, width and channels.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, predictions, provenance, records, statistics
from edgekd.core.errors import DataError, DeviceError, RecordError
from edgekd.core.progress import Progress, Silent, Task
from edgekd.data.images import ImageSet
from edgekd.remote import errand, inventory, lines, session
from edgekd.remote.errand import Fetched, Sent

CONFIDENCE = 0.95  # two-sided
_CHUNK_BYTES = 256 * 2**20  # of pixels on the disk at a time; the memory holds a batch
_BATCH = 64
_TOP = 5  # meaningful from 6 classes on
_ROWS = 4096  # of logits that are ranked at a time


def logits_of(
    file: Path,
    images: ImageSet,
    normalisation: records.Normalisation,
    *,
    name: str | None = None,
    device: str = "host-cpu",
    fleet: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Run a model file over images, in a process of its own, and return its logits [N, K].

    The images go there in files of at most 256 MiB, so neither disk nor memory has to hold them.

    Args:
        file: an ONNX file with one input [N, C, H, W] and one output [N, K], float32; its batch
            may be fixed.
        images: at least one.
        normalisation: what the model was trained with.
        name: of the model for people; None: the file's and its folder's.
        device: where it runs.
        fleet: the inventory that has the device; None: the user's own.
        progress: who is told how far it is; None: nobody.

    Raises:
        DataError: there are no images, or they have other channels than the model.
        RecordError: the file is no model that takes these images.
        DeviceError: the device fails.
    """
    if len(images) == 0:
        raise DataError("there are no images to classify")
    channels, expected = images.shape[2], len(normalisation.mean)
    if channels != expected:
        raise DataError(
            f"'{file}' takes images of {expected} channels, but these have {channels}: "
            "give images like those that it was trained on"
        )
    place = inventory.usable(device, fleet)
    listener = progress or Silent()
    title = f"classify with {name or f'{file.parent.name}/{file.name}'}"
    logits = []
    with (
        listener.task(title, len(images)) as task,
        tempfile.TemporaryDirectory(prefix="edgekd-") as folder,
    ):
        for start, stop in _chunks(images):
            pixels = Path(folder) / "images.npy"
            _write(images, start, stop, pixels)
            logits.append(_infer(file, pixels, normalisation, place, task))
    return np.concatenate(logits)


def record(
    subject: str,
    sha256: str,
    device: str,
    split: records.Split,
    images: ImageSet,
    logits_nk: NDArray[np.float32],
    out: Path,
) -> records.Accuracy:
    """Count what is right, and write the record and, beside it, each image's prediction.

    Args:
        subject: the model's name on the ladder.
        sha256: of the model's file or weights.
        device: where the logits were computed.
        split: that the images are.
        images: as many as logits, in the same order.
        logits_nk: finite; of several equal ones the first counts as the largest.
        out: the record's file, ending in ``.json``; the predictions' ends in ``.npz``.

    Raises:
        DataError: the logits are not finite, or do not fit images and classes.
    """
    _check(subject, images, logits_nk)
    labels_n = np.asarray(images.labels_n, dtype=np.int64)
    predictions_n = logits_nk.argmax(axis=1).astype(np.int64)
    top5_n = _in_top5(logits_nk, labels_n)
    top5: dict[str, Any] = {} if top5_n is None else {"top5": top5_n}
    file = out.with_suffix(".npz")
    with files.replacing(file) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, labels=labels_n, predictions=predictions_n, **top5)
    correct = int((predictions_n == labels_n).sum())
    found = records.Accuracy(
        provenance=provenance.stamp("numpy"),
        parents=(sha256,),
        subject=subject,
        subject_sha256=sha256,
        device=device,
        split=split,
        images=len(labels_n),
        images_sha256=images.sha256,
        correct=correct,
        top1_percent=_percent(statistics.wilson(correct, len(labels_n), CONFIDENCE)),
        top5_percent=None if top5_n is None else 100 * float(top5_n.mean()),
        predictions_file=file.name,
        predictions_sha256=files.sha256_of(file),
    )
    records.write(found, out)
    return found


def paired(
    reference: Path, subject: Path
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
    """Read two accuracy records whose predictions can be compared image by image.

    Args:
        reference: its record (.json), with the predictions beside it.
        subject: likewise.

    Returns:
        The labels, the reference's predictions and the subject's, [N] each.

    Raises:
        RecordError: one is missing, damaged or was changed, or they are not about the same images.
    """
    first = records.read(records.Accuracy, reference)
    second = records.read(records.Accuracy, subject)
    if first.images_sha256 != second.images_sha256:
        raise RecordError(
            f"'{reference}' and '{subject}' cannot be paired: they are about different images "
            f"({first.images} {first.split} images with SHA-256 {first.images_sha256[:12]}..., and "
            f"{second.images} {second.split} images with {second.images_sha256[:12]}...): evaluate "
            "both on the same"
        )
    labels_n, reference_n = predictions.labelled(first, reference.parent)
    _, subject_n = predictions.labelled(second, subject.parent)
    return labels_n, reference_n, subject_n


def _chunks(images: ImageSet) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) so that no chunk's pixels take more than 256 MiB."""
    size = max(1, _CHUNK_BYTES // int(np.prod(images.shape)))
    for start in range(0, len(images), size):
        yield start, min(start + size, len(images))


def _write(images: ImageSet, start: int, stop: int, file: Path) -> None:
    """Write images as uint8 [N, H, W, C], a batch at a time."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (stop - start, *images.shape)}
    with files.replacing(file) as temporary, temporary.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        for first in range(start, stop, _BATCH):
            indices = np.arange(first, min(first + _BATCH, stop))
            handle.write(np.ascontiguousarray(images.batch(indices)).tobytes())


def _infer(
    file: Path,
    pixels: Path,
    normalisation: records.Normalisation,
    place: inventory.Place,
    task: Task,
) -> NDArray[np.float32]:
    answer = pixels.with_name("logits.npy")
    request = {
        "engine": place.device.engine,
        "model": errand.model(file),
        "images": Sent(pixels),
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
        "batch": _BATCH,
        "threads": None,  # one a core of the device
        "logits": Fetched(answer),
    }
    done = 0
    with session.talk("infer", request, reach=place.reach) as said:
        for line in said:
            if isinstance(line, lines.Progress):
                task.advance(line.done - done)
                done = line.done
    if not answer.is_file():
        raise DeviceError("the agent says that it is done, but has written no logits")
    return np.asarray(np.load(answer, allow_pickle=False), dtype=np.float32)


def _check(subject: str, images: ImageSet, logits_nk: NDArray[np.float32]) -> None:
    expected = (len(images), len(images.class_names))
    if logits_nk.shape != expected:
        raise DataError(
            f"'{subject}' gives logits of shape {logits_nk.shape}, but {expected[0]} images of "
            f"{expected[1]} classes need {expected}: is it a model for these classes?"
        )
    bad = np.flatnonzero(~np.isfinite(logits_nk).all(axis=1))
    if len(bad):
        raise DataError(
            f"'{subject}' gives logits that are not finite for {len(bad)} of {len(images)} images, "
            f"first for image {bad[0]}: the model is damaged, or was exported wrongly"
        )


def _percent(ratio: records.Interval) -> records.Interval:
    return records.Interval(
        value=100 * ratio.value,
        low=100 * ratio.low,
        high=100 * ratio.high,
        confidence=ratio.confidence,
    )


def _in_top5(
    logits_nk: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Return for which images the label is among the five largest logits, [N]."""
    if logits_nk.shape[1] <= _TOP:
        return None
    hits_n = np.zeros(len(labels_n), dtype=np.bool_)
    for start in range(0, len(labels_n), _ROWS):
        # Stable, so that a model whose logits are all equal does not look right for every image.
        best = np.argsort(-logits_nk[start : start + _ROWS], axis=1, kind="stable")[:, :_TOP]
        rows = slice(start, start + _ROWS)
        hits_n[rows] = (best == labels_n[rows, None]).any(axis=1)
    return hits_n
