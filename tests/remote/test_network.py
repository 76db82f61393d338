"""Boards at addresses of their own: behind another host, unplugged at work, without power."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekd.core.errors import DeviceError
from edgekd.remote import luggage, restart, ssh
from edgekd.remote.errand import AbsentError, LostError
from tests.remote import network
from tests.remote.disturbed import Disturbed, disturbed
from tests.remote.errands import gone, listen, to_infer, to_run

pytestmark = pytest.mark.skipif(not network.possible(), reason=network.MISSING)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[network.Network]:
    with network.opened(tmp_path_factory.mktemp("network")) as found:
        yield found


@pytest.fixture(scope="module")
def line_1(net: network.Network) -> network.Board:
    return net.board("line-1")


@pytest.fixture
def board(line_1: network.Board) -> Iterator[network.Board]:
    yield line_1
    line_1.plug()  # for the next test, whatever has happened
    assert line_1.emptied()


@pytest.fixture(scope="module")
def gateway(net: network.Network) -> network.Board:
    return net.gateway("gate", "hall")


@pytest.fixture(scope="module")
def hidden(net: network.Network, gateway: network.Board) -> network.Board:
    return net.hidden("line-2", "hall")


@pytest.fixture
def _impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notice a cable that is pulled within seconds, at both of its ends."""
    for name, value in {
        "ConnectTimeout": "5", "ServerAliveInterval": "1", "ServerAliveCountMax": "4",
    }.items():  # fmt: skip
        monkeypatch.setitem(ssh._OPTIONS, name, value)
    text = ssh._LANDING.read_text()
    landing = tmp_path / "landing.py"
    landing.write_text(text.replace("SILENT_S = 60.0", "SILENT_S = 5.0"))
    assert landing.read_text() != text
    monkeypatch.setattr(ssh, "_LANDING", landing)
    monkeypatch.setattr(luggage, "SIGN_OF_LIFE_S", 0.2)


def infers(way: ssh.Ssh, folder: Path) -> bool:
    """Say whether a board does an errand at once, as one does that nothing is left on."""
    folder.mkdir()
    listen(way, "infer", to_infer(folder))
    return np.load(folder / "logits.npy").tolist() == np.arange(8.0).reshape(2, 4).tolist()


def test_a_board_behind_another_host_is_reached_through_it_alone(
    gateway: network.Board, hidden: network.Board, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match=r"^'line-2' \([\d.]+\) cannot be reached: it does not"):
        listen(hidden.way())
    assert infers(hidden.way(jump=gateway.address), tmp_path / "errand")


def test_a_host_on_the_way_must_be_known_too(
    net: network.Network, gateway: network.Board, hidden: network.Board, tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    others = (net.folder / "known_hosts").read_text().splitlines(keepends=True)
    text = "".join(line for line in others if not line.startswith(f"{gateway.address} "))
    known.write_text(text)
    config = tmp_path / "ssh_config"
    lax = "StrictHostKeyChecking accept-new"  # the user's own wish, but not that of a machine
    config.write_text(f"{lax}\nUserKnownHostsFile {known}\nIdentityFile {net.folder}/user_key\n")
    said = rf"through {gateway.address}\) cannot be reached: its host key is not known"
    with pytest.raises(DeviceError, match=said):
        listen(hidden.way(jump=gateway.address, config=config))
    assert known.read_text() == text


@pytest.mark.usefixtures("_impatient")
def test_a_cable_that_is_pulled_during_the_upload_ends_it_on_both_sides(
    board: network.Board, tmp_path: Path
) -> None:
    request = to_infer(tmp_path)
    np.save(tmp_path / "images.npy", np.zeros((1 << 21, 2, 2, 1), np.uint8))
    way = Disturbed(board.way(), 4 << 20, board.unplug)
    with pytest.raises(LostError, match="the connection was cut before the agent was done"):
        listen(way, "infer", request)
    assert gone(board)
    board.plug()
    assert infers(board.way(wait_s=0.0), tmp_path / "next")


@pytest.mark.usefixtures("_impatient")
def test_a_cable_that_is_pulled_during_a_measurement_ends_it_on_both_sides(
    board: network.Board, tmp_path: Path
) -> None:
    request = to_run(tmp_path) | {"warm_up_s": [0.0, 0.0], "blocks": 1_000_000}
    with pytest.raises(LostError, match=r"agent was done; it has not answered for 0 s since"):
        disturbed(board.way(return_s=0.0), request, "block", board.unplug)
    assert gone(board)
    board.plug()
    assert infers(board.way(wait_s=0.0), tmp_path / "next")


@pytest.mark.usefixtures("_impatient")
def test_a_cable_that_is_put_back_soon_disturbs_nothing(
    board: network.Board, tmp_path: Path
) -> None:
    def jolt() -> None:
        board.unplug()
        board.plug()

    request = to_run(tmp_path) | {"warm_up_s": [1.0, 1.0]}
    assert disturbed(board.way(), request, "opened", jolt)[-1] == "memory"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("end", ["halt", "lose_power"])
def test_a_board_that_restarts_during_a_measurement_is_told_and_nothing_is_repeated(
    board: network.Board, tmp_path: Path, end: str
) -> None:
    left: list[str] = []

    def restart() -> None:
        left.extend(board.left())  # no agent can remove it any more
        getattr(board, end)()
        board.boot()

    told = "'line-1' .*: the connection was cut before the agent was done; it has restarted"
    with pytest.raises(LostError, match=told):
        disturbed(board.way(pauses_s=(0.1,)), to_run(tmp_path), "opened", restart)
    (folder,) = left
    os.utime(board.board / folder, (0, 0))
    assert infers(board.way(wait_s=0.0), tmp_path / "next")
    assert board.emptied()  # swept by the next one, since it is old


@pytest.mark.usefixtures("_impatient")
def test_a_board_without_power_is_waited_for_until_it_tells_that_it_has_restarted(
    board: network.Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    left: list[str] = []

    def lose_power() -> None:
        left.extend(board.left())
        board.lose_power()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            board.boot()

    monkeypatch.setattr(restart, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    with pytest.raises(LostError, match="it has restarted meanwhile: look at its power supply"):
        disturbed(board.way(), to_run(tmp_path), "opened", lose_power)
    assert slept
    for folder in left:
        shutil.rmtree(board.board / folder)


def test_a_board_that_was_flashed_anew_is_not_trusted_until_its_key_is_replaced(
    net: network.Network, board: network.Board, tmp_path: Path
) -> None:
    board.reflash()
    known = net.folder / "known_hosts"
    before = known.read_text()
    with pytest.raises(DeviceError, match=r"its host key has changed.*ssh-keygen -R") as caught:
        listen(board.way())
    assert not isinstance(caught.value, LostError | AbsentError)  # none to try again
    assert known.read_text() == before
    others = [line for line in before.splitlines() if not line.startswith(f"{board.address} ")]
    new = (board.folder / "host_key.pub").read_text()
    known.write_text("\n".join([*others, f"{board.address} {new}"]))
    assert infers(board.way(), tmp_path / "next")


@pytest.mark.slow
def test_twenty_boards_answer_at_once(net: network.Network, tmp_path: Path) -> None:
    boards = [net.board(f"fleet-{number}") for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        done = pool.map(lambda board: infers(board.way(), tmp_path / board.name), boards)
        assert list(done) == [True] * 20
    assert all(board.emptied() for board in boards)
