"""Boards, and ways to them, that fail in the middle of an errand; over a real sshd."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import DeviceError
from edgekd.remote import lines, session
from edgekd.remote.errand import LostError
from tests.remote import sshd
from tests.remote.disturbed import Disturbed, disturbed
from tests.remote.errands import agents, gone, listen, script, sensors, to_infer, to_run
from tests.standins import power

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd"), sys.executable) as running:
        yield running


@pytest.fixture
def large(tmp_path: Path) -> dict[str, object]:
    """An errand of 8 MiB."""
    request = to_infer(tmp_path)
    images = np.zeros((1 << 21, 2, 2, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    return request | {"batch": 1 << 20}


def test_a_connection_that_is_cut_during_the_upload_is_told(
    server: sshd.Server, large: dict[str, object]
) -> None:
    way = Disturbed(server.way(), 4 << 20, server.cut)
    with pytest.raises(LostError, match="the connection was cut before"):
        listen(way, "infer", large)
    assert gone(server)


def test_a_connection_that_is_cut_during_the_upload_is_made_anew(
    server: sshd.Server, large: dict[str, object], tmp_path: Path
) -> None:
    cuts = [server.cut]

    def cut_once() -> None:
        if cuts:
            cuts.pop()()

    way = Disturbed(server.way(pauses_s=(0.1,)), 4 << 20, cut_once)
    listen(way, "infer", large)
    assert np.load(tmp_path / "logits.npy").shape == (1 << 21, 4)
    assert gone(server)


def test_a_connection_that_is_cut_during_a_run_is_told_and_not_tried_again(
    server: sshd.Server, tmp_path: Path
) -> None:
    cuts = []

    def cut() -> None:
        cuts.append(server.cut())

    with pytest.raises(LostError, match="cut before the agent was done; it has not restarted"):
        disturbed(server.way(pauses_s=(0.1,)), to_run(tmp_path), "opened", cut)
    assert len(cuts) == 1
    assert gone(server)


def test_a_sensor_that_hangs_on_a_board_that_is_cut_off_does_not_outlive_its_agent(
    server: sshd.Server, tmp_path: Path
) -> None:
    python = script(
        tmp_path, f'export PATH={power.tools(tmp_path, "silent")}:$PATH\nexec {sys.executable} "$@"'
    )
    request = to_run(tmp_path) | {
        "warm_up_s": [0.0, 0.0], "blocks": 1,
        "energy": {"blocks": 100, "interval_ms": 10, "patience_s": 5.0, "readings": 3,
                   "settle_s": 0.0, "run_s": 1.0, "idle_s": 1.5},
    }  # fmt: skip
    seen: list[int] = []

    def cut() -> None:
        seen.extend(sensors(server))
        server.cut()

    with pytest.raises(LostError, match="the connection was cut"):
        disturbed(server.way(python=python), request, "stretch", cut)
    assert len(seen) == 1
    assert gone(server)


def test_a_full_disk_is_told(server: sshd.Server, large: dict[str, object], tmp_path: Path) -> None:
    limited = script(tmp_path, f'ulimit -f 1000\nexec {sys.executable} "$@"')  # kB
    with pytest.raises(DeviceError, match="File too large"):
        listen(server.way(python=limited), "infer", large)
    assert gone(server)


def test_an_agent_that_is_killed_is_told(server: sshd.Server, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"ended by signal 9 .*enough memory"):
        disturbed(server.way(), to_run(tmp_path), "opened", lambda: os.kill(min(agents(server)), 9))
    assert gone(server)


def test_an_agent_that_hangs_is_ended_over_there(server: sshd.Server, tmp_path: Path) -> None:
    with pytest.raises(
        DeviceError,
        match=r"^'bench' \(127\.0\.0\.1\): the agent was ended: it took longer than 0\.5 s",
    ):
        listen(server.way(limit_s=0.5), "run", to_run(tmp_path))
    assert gone(server)


def test_a_greeting_of_the_login_shell_is_passed_over(server: sshd.Server, tmp_path: Path) -> None:
    python = script(tmp_path, f'echo "Welcome to the lab!"\nexec {sys.executable} "$@"')
    (line,) = listen(server.way(python=python))
    assert isinstance(line, lines.Probe)


LANDED = """echo '{"schema_version": 1, "type": "landed"}'"""


def test_garbage_among_the_lines_is_shown(server: sshd.Server, tmp_path: Path) -> None:
    python = script(tmp_path, f"{LANDED}\necho Segmentation fault")
    with pytest.raises(DeviceError, match="wrote 'Segmentation fault'"):
        listen(server.way(python=python))


def test_half_a_line_is_the_end_of_the_agent_and_no_line(
    server: sshd.Server, tmp_path: Path
) -> None:
    python = script(tmp_path, LANDED + """\nprintf '{"schema_ver'\nexit 3""")
    with pytest.raises(DeviceError, match="ended with status 3 before it was done"):
        listen(server.way(python=python))


def test_a_second_client_is_told_who_uses_the_board(server: sshd.Server, tmp_path: Path) -> None:
    with session.talk("run", to_run(tmp_path), reach=server.way()) as said:
        next(said)
        with pytest.raises(DeviceError, match=rf"in use by \w+@{socket.gethostname()} since "):
            listen(server.way(wait_s=0.0), "infer", to_infer(tmp_path))
        (line,) = listen(server.way(wait_s=0.0))  # asking what it is disturbs nobody
        assert isinstance(line, lines.Probe)
    assert gone(server)


def test_a_second_client_waits_until_the_board_is_free(
    server: sshd.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with session.talk("run", to_run(first), reach=server.way()) as said:
            next(said)
            waiting = pool.submit(listen, server.way(), "infer", to_infer(second))
            end = time.monotonic() + 20
            while "waiting for it" not in caplog.text and time.monotonic() < end:
                time.sleep(0.02)
            assert not waiting.done()
        assert [line.type for line in waiting.result(30)] == ["opened", "progress"]
    assert gone(server)


def test_what_a_killed_landing_has_left_is_swept_by_a_later_one(
    server: sshd.Server, tmp_path: Path
) -> None:
    old, young, foreign = (server.board / "0" / name for name in (
        "edgekd-landed-old", "edgekd-landed-young", "edgekd-other",
    ))  # fmt: skip
    for folder in (old, young, foreign):
        folder.mkdir()
    for folder in (old, foreign):
        os.utime(folder, (0, 0))
    listen(server.way())
    assert [folder.exists() for folder in (old, young, foreign)] == [False, True, True]
    young.rmdir()
