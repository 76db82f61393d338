import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgekd.core import files, records
from edgekd.core.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekd.core.fleet import FILE, Fleet, Row
from edgekd.profile import fleet
from edgekd.profile.fleet import Cell
from edgekd.remote.errand import AbsentError, LostError
from tests.remote import errands, sshd

A, B = (Cell(name, "net.onnx", 1, key=name * 64, lane=name) for name in "ab")


class Worker:
    """Writes a file for each cell, and fails as often as it is told to, in this order."""

    def __init__(self, out: Path, noisy: str = "", **errors: list[Exception]) -> None:
        self.out, self.noisy, self.errors = out, noisy, errors
        self.done: list[str] = []

    def __call__(self, cell: Cell, folder: Path) -> Row:
        self.done.append(cell.device)
        if self.errors.get(cell.device):
            raise self.errors[cell.device].pop(0)
        files.write_text(folder / "measurement.json", cell.device)
        row = Row(device=cell.device, model=cell.model, batch=cell.batch, key=cell.key,
                  state="inconclusive" if cell.device == self.noisy else "measured")  # fmt: skip
        return fleet.sealed(row, folder / "measurement.json", self.out)


def test_a_broken_board_does_not_spoil_the_others(tmp_path: Path) -> None:
    worker = Worker(tmp_path, a=[DeviceError("it does not answer")])
    found = fleet.run([A, B], worker, tmp_path, pauses_s=())
    assert [(row.device, row.state, row.reason) for row in found.rows] == [
        ("a", "failed", "it does not answer"),
        ("b", "measured", ""),
    ]
    assert fleet.exit_status(found) == 4
    assert records.read(Fleet, tmp_path / FILE) == found


def test_resume_does_only_what_is_not_finished(tmp_path: Path) -> None:
    fleet.run([A, B], Worker(tmp_path, a=[DeviceError("off")]), tmp_path, pauses_s=())
    again = Worker(tmp_path)
    found = fleet.run([A, B], again, tmp_path, resume=True)
    assert again.done == ["a"]
    assert [(row.state, row.resumed) for row in found.rows] == [
        ("measured", False),
        ("measured", True),
    ]
    assert fleet.exit_status(found) == 0


def test_resume_measures_again_what_was_inconclusive(tmp_path: Path) -> None:
    fleet.run([A, B], Worker(tmp_path, noisy="a"), tmp_path)
    again = Worker(tmp_path)
    found = fleet.run([A, B], again, tmp_path, resume=True)
    assert again.done == ["a"]
    assert [row.state for row in found.rows] == ["measured", "measured"]


def test_resume_does_again_what_was_changed(tmp_path: Path) -> None:
    first = fleet.run([A, B], Worker(tmp_path), tmp_path)
    assert first.rows[0].record is not None
    (tmp_path / first.rows[0].record).write_text("forged")
    again = Worker(tmp_path)
    fleet.run([A, B], again, tmp_path, resume=True)
    assert again.done == ["a"]


def test_a_cell_with_another_key_is_done_anew(tmp_path: Path) -> None:
    fleet.run([A], Worker(tmp_path), tmp_path)
    again = Worker(tmp_path)
    fleet.run([Cell("a", "net.onnx", 1, "0" * 64, "a")], again, tmp_path, resume=True)
    assert again.done == ["a"]


def test_results_are_not_overwritten_unasked(tmp_path: Path) -> None:
    fleet.run([A], Worker(tmp_path), tmp_path)
    with pytest.raises(UsageError, match="--resume"):
        fleet.run([A], Worker(tmp_path), tmp_path)


def test_a_lost_connection_is_tried_again_and_counted(tmp_path: Path) -> None:
    worker = Worker(tmp_path, a=[LostError("cut"), LostError("cut")])
    (row,) = fleet.run([A], worker, tmp_path, pauses_s=(0, 0)).rows
    assert (row.state, row.attempts, row.lost) == ("measured", 3, ("cut", "cut"))


def test_attempts_end(tmp_path: Path) -> None:
    worker = Worker(tmp_path, a=[LostError("cut")] * 5)
    (row,) = fleet.run([A], worker, tmp_path, pauses_s=(0,)).rows
    assert (row.state, row.attempts, row.exit_status) == ("failed", 2, 4)


def test_what_another_attempt_cannot_mend_is_tried_once(tmp_path: Path) -> None:
    worker = Worker(tmp_path, a=[DeviceError("the key is refused")])
    (row,) = fleet.run([A], worker, tmp_path, pauses_s=(0, 0)).rows
    assert (row.state, row.attempts) == ("failed", 1)


def test_lanes_run_at_once_and_a_lane_one_by_one(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=60)  # breaks, unless both lanes are at it
    busy = dict.fromkeys("ab", 0)

    def work(cell: Cell, folder: Path) -> Row:
        del folder
        busy[cell.lane] += 1
        assert busy[cell.lane] == 1
        meeting.wait()
        busy[cell.lane] -= 1
        return Row(device=cell.device, model="n", batch=cell.batch, key=cell.key, state="measured")

    cells = [Cell(name, "n", batch, f"{name}{batch}", name) for name in "ab" for batch in (1, 8)]
    rows = fleet.run(cells, work, tmp_path).rows
    assert [(row.device, row.batch) for row in rows] == [("a", 1), ("a", 8), ("b", 1), ("b", 8)]


def test_a_fault_of_ours_in_one_cell_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(tmp_path, a=[ZeroDivisionError("of what?")])
    found = fleet.run([A, Cell("b", "net.onnx", 1, "b", lane=A.lane)], worker, tmp_path)
    assert [(row.state, row.reason) for row in found.rows] == [
        ("failed", "a fault of edgekd: ZeroDivisionError: of what?"),
        ("measured", ""),
    ]
    assert fleet.exit_status(found) == 70
    assert "Traceback" in caplog.text


@pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)
def test_a_board_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    server = sshd.prepared(tmp_path, sys.executable)
    with ExitStack() as stack:

        def work(cell: Cell, folder: Path) -> Row:
            try:
                errands.listen(server.way())
            except AbsentError:
                stack.enter_context(sshd.listening(server))  # its port opens now
                raise
            return Worker(tmp_path / "out")(cell, folder)

        (row,) = fleet.run([A], work, tmp_path / "out", pauses_s=(0,)).rows
    assert (row.state, row.attempts) == ("measured", 2)


def test_a_board_that_stayed_away_is_waited_for_once(tmp_path: Path) -> None:
    worker = Worker(tmp_path, a=[AbsentError("off")] * 4)
    cells = [Cell("a", "n", batch, str(batch) * 64, "a") for batch in (1, 2, 4)]
    rows = fleet.run(cells, worker, tmp_path, pauses_s=(0, 0)).rows
    assert [(row.state, row.attempts) for row in rows] == [
        ("failed", 3), ("failed", 1), ("measured", 1),
    ]  # fmt: skip


def test_a_place_that_cannot_be_written_is_told_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    worker = Worker(tmp_path)
    with pytest.raises(EnvironmentMissingError, match="cannot be written"):
        fleet.run([A], worker, tmp_path / "out")
    assert worker.done == []


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [((0, 3), 3), ((3, 4), 4), ((4, 5), 5), ((5, 2, 0), 2), ((70, 2), 70), ((0, 0), 0)],
)
def test_the_status_is_what_the_user_must_act_on_first(
    statuses: tuple[int, ...], worst: int
) -> None:
    rows = tuple(
        Row(device="d", model="n", batch=1, key=str(i), state="failed", exit_status=status)
        for i, status in enumerate(statuses)
    )
    found = Fleet.model_construct(rows=rows)
    assert fleet.exit_status(found) == worst


def test_folders_are_names_that_every_file_system_takes() -> None:
    assert Cell("lab/gpu: 1.toml", "n", 8, "0123456789", "x").folder == "gpu__1.toml-b8-01234567"
