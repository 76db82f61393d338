"""``edgekd profile`` on boards that are hosts of a network, one of them behind another."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import files, records, specs
from edgekd.profile import fleet, local, notes
from edgekd.remote import lines, ssh
from tests import nets
from tests.cli.conftest import Command
from tests.remote import errands, network
from tests.standins import ina3221, power

pytestmark = pytest.mark.skipif(not network.possible(), reason=network.MISSING)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[network.Network]:
    with network.opened(tmp_path_factory.mktemp("network")) as found:
        yield found


@pytest.fixture(scope="module")
def board(net: network.Network) -> network.Board:
    return net.board("line-1")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    monkeypatch.setitem(ssh._OPTIONS, "ConnectTimeout", "5")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))


def inventory(folder: Path, *tables: str) -> Path:
    file = folder / "devices.toml"
    file.write_text("\n".join(tables))
    return file


def words(model: Path, fleet: Path, *devices: str) -> list[object]:
    return [
        "profile", model, *(word for name in devices for word in ("--device", name)),
        "--inventory", fleet, "--blocks", 6, "--runs", 5, "--out", model.parent / "out",
    ]  # fmt: skip


def test_boards_of_a_network_make_one_table_and_one_that_is_unplugged_fails_alone(
    net: network.Network, board: network.Board, edgekd: Command, model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fleet, "PAUSES_S", ())
    second, gateway = net.board("line-2"), net.gateway("gate", "hall")
    hidden, absent = net.hidden("line-3", "hall"), net.board("line-4")
    tables = [each.entry() for each in (board, second, absent)]
    known = inventory(model.parent, *tables, hidden.entry(jump=gateway.address))
    absent.unplug()
    names = ["line-1", "line-2", "line-3", "line-4"]
    status, out, _ = edgekd(*words(model, known, *names))
    assert status == 4
    assert [line.split()[0] for line in out.splitlines()[:4]] == names
    rows = json.loads((model.parent / "out" / "fleet.json").read_text())["rows"]
    assert [row["device"] for row in rows] == names
    for row in rows[:3]:
        assert row["state"] in {"measured", "inconclusive"}  # as busy as this machine may be
        assert row["p50_ms"] > 0
    assert rows[3]["state"] == "failed"
    assert f"'line-4' ({absent.address}) cannot be reached: it does not answer" in rows[3]["reason"]
    assert all(each.emptied() for each in (board, second, hidden))


def test_a_cell_whose_board_restarts_is_measured_anew_as_a_whole(
    board: network.Board, edgekd: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarted: list[bool] = []
    take = notes.Notes.take

    def taken(self: notes.Notes, line: lines.Line, task: object) -> None:
        take(self, line, task)  # type: ignore[arg-type]
        if isinstance(line, lines.Block) and not restarted:
            restarted.append(True)
            board.lose_power()
            board.boot()

    monkeypatch.setattr(notes.Notes, "take", taken)
    monkeypatch.setattr(fleet, "PAUSES_S", (0.1,))
    known = inventory(model.parent, board.entry())
    _, _, err = edgekd(*words(model, known, "line-1"), "--batch", 1, "--batch", 2)
    assert "it has restarted meanwhile: look at its power supply" in err
    rows = json.loads((model.parent / "out" / "fleet.json").read_text())["rows"]
    assert [row["attempts"] for row in rows] == [2, 1]
    assert "it has restarted meanwhile" in rows[0]["lost"][0]
    for row in rows:
        record = records.read(records.Measurement, model.parent / "out" / row["record"])
        assert record.boot_id == board.boot_id
        assert record.timings[0].runs == 30


class Interrupting:
    """Restarts a board before a part of a measurement begins."""

    def __init__(self, board: network.Board, title: str) -> None:
        self._board, self._title = board, title

    @contextmanager
    def task(self, title: str, total: int) -> Iterator["Interrupting"]:
        if title == self._title:
            self._board.lose_power()
            self._board.boot()
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        pass


@pytest.mark.parametrize(
    ("wish", "part"), [("confirm", "measure it again"), ("energy", "measure energy")]
)
def test_parts_on_both_sides_of_a_restart_are_inconclusive(
    net: network.Network, model: Path, monkeypatch: pytest.MonkeyPatch, wish: str, part: str
) -> None:
    power.hasten(monkeypatch, settle_s=0.3)
    tools = power.tools(model.parent)
    board = net.board(f"restarts-before-{wish}", PATH=f"{tools}:/usr/bin:/bin")
    spec = specs.Profile(blocks=6, runs=5, device=board.name, **{wish: True})
    subject = local.Subject("net", model, files.sha256_of(model))
    known = inventory(model.parent, board.entry())
    found = local.measure(
        [subject], spec, np.ones((1, 1, 2, 2), np.float32), model.parent / "out",
        Interrupting(board, part), known,
    )  # fmt: skip
    told = "the device has restarted in the middle of the measurement"
    assert [doubt for doubt in found.doubts if doubt.endswith(told)]


def test_energy_is_read_from_an_ina3221_of_a_board_without_tegrastats(
    net: network.Network, edgekd: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.hasten(monkeypatch, settle_s=0.3)
    bus = ina3221.bus(model.parent)
    board = net.board("ina", bus, PATH="/usr/bin:/bin")
    known = inventory(model.parent, board.entry())
    with ina3221.powered(bus, lambda: errands.agents(board)):
        _, out, err = edgekd(*words(model, known, "ina"), "--energy")
    assert "no energy" not in err
    assert "energy of the module (VDD_IN) by ina3221, a reading every" in out
    record = records.read(records.Measurement, model.parent / "out" / "measurement.json")
    assert record.energy is not None
    assert record.energy.idle_mw is not None
    assert record.timings[0].energy is not None
    assert max(record.energy.idle_mw) < record.timings[0].energy.power_mw <= 10_000
