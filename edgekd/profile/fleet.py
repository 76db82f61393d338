"""Go through many cells on many devices: boards at once, the cells of each one by one.

What is finished is kept: after a crash or Ctrl-C, ``resume`` takes over every cell whose key and
record still hold, and measures again what was inconclusive. A device that fails does not hold the
others up, nor does a fault of edgekd.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from edgekd.core import files, provenance, records
from edgekd.core.errors import INTERNAL_FAULT, EdgekdError, RecordError, UsageError
from edgekd.core.estimate import Precision
from edgekd.core.fleet import FILE, Fleet, Row
from edgekd.core.progress import Progress, Silent
from edgekd.remote.errand import AbsentError, LostError

log = logging.getLogger(__name__)

PAUSES_S = (5.0, 20.0, 60.0)  # before each further attempt; a Jetson starts in about a minute
# What the user must act on, the most pressing first: a fault of edgekd, a mistake, a failed build,
# a missing device, a verdict, a doubtful number.
_PRESSING = (INTERNAL_FAULT, 2, 5, 4, 1, 3, 0)


@dataclass(frozen=True)
class Cell:
    """What is to be found out on one device.

    Args:
        device: its name.
        model: the file, for people.
        batch: images at once.
        key: SHA-256 of all that the result depends on.
        lane: cells of one lane are done one by one, as they would disturb each other.
        precision: that an estimate is for; None: as the file says.
    """

    device: str
    model: str
    batch: int
    key: str
    lane: str
    precision: Precision | None = None

    @property
    def folder(self) -> str:
        """Return the name of its folder: unique, and one that every file system takes."""
        device = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(self.device).name)
        return f"{device}-b{self.batch}-{self.key[:8]}"


Work = Callable[[Cell, Path], Row]  # writes its record below that folder


def run(
    cells: Sequence[Cell],
    work: Work,
    out: Path,
    *,
    resume: bool = False,
    pauses_s: Sequence[float] = PAUSES_S,
    progress: Progress | None = None,
) -> Fleet:
    """Do every cell and write ``fleet.json`` after each.

    Args:
        cells: what to do; no two alike.
        work: does one; called from one thread for each lane.
        out: a folder; gets ``fleet.json`` and a folder for each cell.
        resume: keep what an earlier command has finished there.
        pauses_s: seconds before each further attempt, when the connection was lost or the board
            does not answer; one that has stayed away is not waited for again.
        progress: who is told how far it is; None: nobody.

    Raises:
        UsageError: there is nothing to do, a cell stands twice, or ``out`` has a fleet already.
    """
    if not cells or len(set(cells)) < len(cells):
        raise UsageError("a fleet takes one device or more, and every cell once")
    files.check_place(out / FILE)
    book = _Book(list(cells), out, _finished(out) if resume else _none(out))
    stop = threading.Event()
    left = [cell for cell in cells if cell not in book.rows]
    queues = [list(group) for _, group in groupby(sorted(left, key=_lane), key=_lane)]
    with (
        (progress or Silent()).task("profile the fleet", len(left)) as task,
        ThreadPoolExecutor(max(len(queues), 1)) as pool,
    ):

        def serve(queue: list[Cell]) -> None:
            patience = pauses_s
            for cell in queue:
                if stop.is_set():
                    return
                row = _attempted(cell, work, out / cell.folder, patience, stop)
                stayed_away = row.state == "failed" and row.attempts > len(patience)
                patience = () if stayed_away else pauses_s
                with book.lock:
                    book.enter(cell, row)
                    task.advance(1, f"{cell.device}: {row.state}")

        futures = [pool.submit(serve, queue) for queue in queues]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stop.set()  # what is being measured is finished and kept, no other cell is begun
            raise
    return book.write()


def exit_status(fleet: Fleet) -> int:
    """Return the status that the user must act on first."""
    found = {row.exit_status for row in fleet.rows}
    return next((status for status in _PRESSING if status in found), max(found, default=0))


def _attempted(
    cell: Cell, work: Work, folder: Path, pauses_s: Sequence[float], stop: threading.Event
) -> Row:
    """Do one cell; only a connection that was lost or refused is worth another attempt."""
    lost: list[str] = []
    for attempt, pause_s in enumerate((*pauses_s, None), start=1):
        try:
            row = work(cell, folder)
            return row.model_copy(update={"attempts": attempt, "lost": tuple(lost)})
        except EdgekdError as error:
            again = isinstance(error, LostError | AbsentError) and not stop.is_set()
            if pause_s is None or not again:
                return _failure(cell, str(error), error.exit_status, attempt)
            lost.append(str(error))
            log.warning("%s. Trying again in %.0f s.", str(error).rstrip("."), pause_s)
            stop.wait(pause_s)
        except Exception as error:  # one cell's fault is not the others'
            log.exception("'%s' on '%s' met a fault of edgekd:", cell.model, cell.device)
            reason = f"a fault of edgekd: {type(error).__name__}: {error}"
            return _failure(cell, reason, INTERNAL_FAULT, attempt)
    raise AssertionError("the last attempt returns")


def _failure(cell: Cell, reason: str, status: int, attempts: int) -> Row:
    return Row(
        device=cell.device,
        model=cell.model,
        batch=cell.batch,
        key=cell.key,
        precision=cell.precision,
        state="failed",
        reason=reason,
        exit_status=status,
        attempts=attempts,
    )


@dataclass
class _Book:
    """The rows so far; on disk after every one."""

    cells: list[Cell]
    out: Path
    earlier: dict[str, Row]
    rows: dict[Cell, Row] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for cell in self.cells:
            kept = self.earlier.get(cell.key)
            if kept is not None:
                self.rows[cell] = kept.model_copy(update={"resumed": True})

    def enter(self, cell: Cell, row: Row) -> None:
        self.rows[cell] = row
        self.write()

    def write(self) -> Fleet:
        rows = tuple(self.rows[cell] for cell in self.cells if cell in self.rows)
        parents = tuple(row.sha256 for row in rows if row.sha256 is not None)
        fleet = Fleet(provenance=provenance.stamp(), parents=parents, rows=rows)
        records.write(fleet, self.out / FILE)
        return fleet


def _finished(out: Path) -> dict[str, Row]:
    """Return the rows of an earlier command that still hold, by their keys."""
    if not (out / FILE).exists():
        return {}
    rows = records.read(Fleet, out / FILE).rows
    return {row.key: row for row in rows if row.state != "inconclusive" and _holds(row, out)}


def _holds(row: Row, out: Path) -> bool:
    if row.record is None or row.sha256 is None:
        return False
    try:
        records.check_file(out / row.record, row.sha256)
    except RecordError as error:
        log.warning("%s: doing it again", error)
        return False
    return True


def _none(out: Path) -> dict[str, Row]:
    if (out / FILE).exists():
        raise UsageError(
            f"'{out}' has a fleet's results already: go on with --resume, or name another folder"
        )
    return {}


def _lane(cell: Cell) -> str:
    return cell.lane


def sealed(row: Row, record: Path, out: Path) -> Row:
    """Return a row that names its record by the file's SHA-256."""
    place = {"record": str(record.relative_to(out)), "sha256": files.sha256_of(record)}
    return row.model_copy(update=place)
