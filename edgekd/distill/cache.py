"""The teacher's logits, computed once for some views of every training image and kept on disk."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.core import files
from edgekd.core.errors import CheckpointError, EnvironmentMissingError
from edgekd.core.progress import Progress
from edgekd.distill.batches import Batch, Batches
from edgekd.distill.method import Outputs
from edgekd.distill.processes import Processes
from edgekd.distill.teacher import Source

LOGITS = "teacher-logits.npy"
KEY = "teacher-logits.json"


class Cached:
    """A teacher that answers from the disk.

    Args:
        logits_vnk: FP16 [V views, N images, K classes].
        device: where the answers are wanted.
        seconds: how long it took to compute them.
    """

    def __init__(
        self, logits_vnk: NDArray[np.float16], device: torch.device, seconds: float
    ) -> None:
        self._logits_vnk = logits_vnk
        self._device = device
        self.seconds = seconds

    @property
    def views(self) -> int:
        """Return V."""
        return int(self._logits_vnk.shape[0])

    def __call__(self, batch: Batch) -> Outputs:
        """Look the logits up by view and place in the training set."""
        rows_nk = torch.from_numpy(np.asarray(self._logits_vnk[batch.view][batch.ids_n]))
        return Outputs(rows_nk.to(self._device, non_blocking=True).float())

    def look(self, images_nchw: Tensor) -> Outputs:
        """Refuse: only the batches' images were shown to the teacher."""
        raise NotImplementedError(f"no logits are cached for {len(images_nchw)} other images")

    ask = look


def build(
    folder: Path,
    key: str,
    views: int,
    batches: Batches,
    teacher: Source,
    processes: Processes,
    progress: Progress,
) -> Cached:
    """Return the cached teacher; compute it unless the folder holds it already.

    Args:
        folder: of the stage; all processes must see the same one.
        key: of all that the logits depend on: teacher, images, augmentation, seed, views.
        views: V, how many variations of each image.
        batches: of the training set.
        teacher: is asked only if the folder does not hold the answers.
        processes: who share the work.
        progress: who is told.

    Raises:
        EnvironmentMissingError: the disk has no room for it.
        CheckpointError: a logit does not fit into FP16.
    """
    if not _is_there(folder, key):
        _compute(folder, key, views, batches, teacher, processes, progress)
    processes.wait()
    logits_vnk = np.load(folder / LOGITS, mmap_mode="r", allow_pickle=False)
    known = json.loads((folder / KEY).read_text(encoding="utf-8"))
    return Cached(logits_vnk, processes.device, known["seconds"])


def _is_there(folder: Path, key: str) -> bool:
    known = folder / KEY
    if not known.exists() or not (folder / LOGITS).exists():
        return False
    found: object = json.loads(known.read_text(encoding="utf-8"))["key"]
    return found == key


def _compute(
    folder: Path,
    key: str,
    views: int,
    batches: Batches,
    teacher: Source,
    processes: Processes,
    progress: Progress,
) -> None:
    """Fill the file, and only then say whose it is."""
    if not processes.main:
        for _ in _answers(views, batches, teacher, processes):
            pass
        return
    (folder / KEY).unlink(missing_ok=True)
    start = time.perf_counter()
    total = views * -(-len(batches.images) // batches.size)
    logits_vnk: NDArray[np.float16] | None = None
    with files.replacing(folder / LOGITS) as temporary, progress.task("teacher", total) as task:
        for view, first, rows_nk in _answers(views, batches, teacher, processes):
            if logits_vnk is None:
                shape = (views, len(batches.images), rows_nk.shape[1])
                logits_vnk = _room(folder, temporary, shape)
            logits_vnk[view, first : first + len(rows_nk)] = rows_nk
            task.advance(1, f"view {view + 1} of {views}")
        assert isinstance(logits_vnk, np.memmap)
        logits_vnk.flush()
    seconds = time.perf_counter() - start
    files.write_text(folder / KEY, json.dumps({"key": key, "seconds": seconds}) + "\n")


def _answers(
    views: int, batches: Batches, teacher: Source, processes: Processes
) -> Iterator[tuple[int, int, NDArray[np.float16]]]:
    """Yield view, number of the first image, and logits [N, K] of all processes together."""
    for view in range(views):
        for number, batch in enumerate(batches.in_order(view)):
            first = number * batches.size
            logits_nk = processes.gather(teacher(batch).logits_nk).half().cpu().numpy()
            if not np.isfinite(logits_nk).all():
                raise CheckpointError(
                    "a logit of the teacher is not finite in FP16 (above 65,504 in size): check "
                    'its weights, or use teacher = "online"'
                )
            yield view, first, logits_nk[: len(batches.images) - first]


def _room(folder: Path, path: Path, shape: tuple[int, int, int]) -> NDArray[np.float16]:
    """Make the file in its full size, if the disk has room for it."""
    needed = int(np.prod(shape)) * np.dtype(np.float16).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EnvironmentMissingError(
            f"the teacher's logits need {needed / 2**20:.0f} MiB in '{folder}', but "
            f'{free / 2**20:.0f} MiB are free: use fewer views, or teacher = "online"'
        )
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
