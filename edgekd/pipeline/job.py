"""One run: its folder, its recipe, its images, and the ledger of what is done.

A step's key is a hash over all that its result depends on. A step whose key and outputs are those
of the ledger is kept; any other is done again, and with it whatever stands on its outputs.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from edgekd import __version__
from edgekd.core import files, manifest, provenance, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.core.run_folder import LEDGER
from edgekd.core.specs import Recipe
from edgekd.data import sources
from edgekd.data.sources import ImageSet, Splits
from edgekd.pipeline.workers import Workers

log = logging.getLogger(__name__)

RECIPE = "recipe.json"


@dataclass
class Job:
    """A run that is being done."""

    folder: Path
    name: str  # of the recipe
    recipe: Recipe
    splits: Splits
    progress: Progress
    workers: Workers
    steps: dict[str, records.Step] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """Where the arithmetic of this process is done: "cpu", "cuda" ..."""
        return device_of(self.recipe.training)

    def do(
        self,
        name: str,
        outputs: list[Path],
        depends: Mapping[str, object],
        work: Callable[[], object],
        *,
        together: bool = False,
    ) -> None:
        """Do a step, unless its result is there already.

        Args:
            name: of the step, unique in the run.
            outputs: files and folders that it writes; they are removed before it begins.
            depends: all that the result depends on, as JSON: parts of the recipe, hashes...
            work: what is to be done.
            together: every process has a part in it (training), not the first one alone.
        """
        key = _key(name, depends)
        if self._is_done(name, key):
            log.info("%s: kept from before", name)
            self.workers.wait()
            return
        if self.workers.main and (self.steps.get(name) is None or self.steps[name].key != key):
            _begin_anew(outputs, self.folder / f".{name}.key", key)
        self.workers.wait()
        start = time.perf_counter()
        if together or self.workers.main:
            work()
        if self.workers.main:
            self._record(name, key, outputs, time.perf_counter() - start)
        self.workers.wait()

    def forget(self, name: str) -> None:
        """Do a step again even if its result is there."""
        self.steps.pop(name, None)

    def _is_done(self, name: str, key: str) -> bool:
        step = self.steps.get(name)
        if step is None or step.key != key:
            return False
        for path, sha256 in step.outputs.items():
            file = self.folder / path
            if not file.is_file() or files.sha256_of(file) != sha256:
                log.warning("%s: '%s' is missing or was changed, so it is done again", name, path)
                return False
        return True

    def _record(self, name: str, key: str, outputs: list[Path], seconds: float) -> None:
        written = [file for path in outputs for file in sorted(_files_of(path))]
        hashes = {str(file.relative_to(self.folder)): files.sha256_of(file) for file in written}
        self.steps[name] = records.Step(name=name, key=key, outputs=hashes, seconds=seconds)
        (self.folder / f".{name}.key").unlink(missing_ok=True)
        ledger = records.Ledger(
            provenance=provenance.stamp(seed=self.recipe.training.seed),
            recipe=self.name,
            steps=tuple(self.steps.values()),
        )
        records.write(ledger, self.folder / LEDGER)


def device_of(training: specs.Training) -> str:
    """Resolve "auto": a GPU if there is one."""
    if training.device != "auto":
        return training.device
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw random weights from ``seed``, and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def shape_of(images: ImageSet) -> tuple[int, int, int]:
    """Return C, H, W of the images."""
    height, width, channels = images.shape
    return channels, height, width


@contextmanager
def start(
    recipe: Recipe, folder: Path, name: str, *, resume: bool, progress: Progress | None
) -> Iterator[Job]:
    """Open a run's folder and the images, and yield the job; what it logs goes to ``log.txt``.

    Raises:
        UsageError: the folder holds something, and ``resume`` was not asked for; or it holds
            something else than a run, and it was; or another process is at work in it.
    """
    workers = Workers(device_of(recipe.training))
    _check_folder(folder, resume=resume)
    workers.wait()
    splits = sources.load(recipe.data, seed=recipe.training.seed)  # before anything is written
    with _alone(folder, workers):
        if workers.main:
            (folder / manifest.FILE).unlink(missing_ok=True)  # a run that goes on is not finished
            files.write_text(folder / RECIPE, recipe.model_dump_json(indent=2) + "\n")
        workers.wait()
        done: dict[str, records.Step] = {}
        if (folder / LEDGER).exists():
            done = {step.name: step for step in records.read(records.Ledger, folder / LEDGER).steps}
        with _log_file(folder, workers):
            yield Job(folder, name, recipe, splits, progress or Silent(), workers, done)


def _check_folder(folder: Path, *, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file: name a folder with --out")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / RECIPE).exists():
        raise UsageError(f"'{folder}' holds something else than a run: name another folder")
    if not resume:
        raise UsageError(
            f"'{folder}' is not empty: go on with --resume, or name another folder with --out"
        )


@contextmanager
def _alone(folder: Path, workers: Workers) -> Iterator[None]:
    """Keep other processes out of the folder; the lock ends with this process, however it ends."""
    if not workers.main:
        yield
        return
    files.make_folder(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"another process is at work in '{folder}': wait for its end, or name another folder "
            "with --out"
        ) from error
    except OSError:
        log.debug("'%s' lies on a file system without locks", folder)


@contextmanager
def _log_file(folder: Path, workers: Workers) -> Iterator[None]:
    if not workers.main:
        yield
        return
    handler = logging.FileHandler(folder / "log.txt")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("edgekd")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _key(name: str, depends: Mapping[str, object]) -> str:
    content = json.dumps([__version__, name, depends], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _begin_anew(outputs: list[Path], marker: Path, key: str) -> None:
    """Remove what another recipe left; what the same step left half done is kept to go on from."""
    if marker.exists() and marker.read_text() == key:
        return
    for path in outputs:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    files.write_text(marker, key)


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [path] if path.exists() else []
