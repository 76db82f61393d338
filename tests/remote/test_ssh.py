"""Errands over a real sshd on the loopback; the board is this machine."""

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pytest

from edgekd.core.errors import DeviceError, RecordError
from edgekd.remote import errand, lines, session, ssh
from edgekd.remote.errand import Errand, Fetched, LostError, Sent, Start
from tests import nets
from tests.remote import sshd

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd"), sys.executable) as running:
        yield running


def listen(
    way: errand.Reach, verb: str = "probe", request: Mapping[str, object] | None = None
) -> list[lines.Line]:
    with session.talk(verb, request, reach=way, silence_s=60) as said:
        return list(said)


def script(folder: Path, text: str) -> str:
    """Write a program that takes the place of the board's Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def to_infer(folder: Path) -> dict[str, object]:
    np.save(folder / "images.npy", np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1))
    return {
        "engine": "onnxruntime", "batch": 2, "threads": 1, "mean": [0.0], "std": [1 / 255],
        "model": Sent(nets.linear(folder / "a.onnx", np.eye(4), (1, 2, 2))),
        "images": Sent(folder / "images.npy"),
        "logits": Fetched(folder / "logits.npy"),
    }  # fmt: skip


def to_run(folder: Path) -> dict[str, object]:
    """Warm up for a minute: long enough to be disturbed."""
    np.save(folder / "images.npy", np.ones((1, 1, 2, 2), np.float32))
    model = nets.linear(folder / "a.onnx", np.eye(4), (1, 2, 2))
    return {
        "engine": "onnxruntime", "images": Sent(folder / "images.npy"), "threads": 1,
        "blocks": 4, "runs": 5, "warm_up_s": [60.0, 60.0],
        "subjects": [{"name": "a", "path": Sent(model)}],
    }  # fmt: skip


def agents(server: sshd.Server) -> list[int]:
    """Return the processes of agents on the board, but for landings."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            place = str((path / "cwd").readlink())
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if place.startswith(str(server.board)) and b"agent.pyz" in words:
            found.append(int(path.name))
    return found


def gone(server: sshd.Server) -> bool:
    end = time.monotonic() + 10
    while agents(server) and time.monotonic() < end:
        time.sleep(0.02)
    return not agents(server) and server.emptied()


def test_probe_tells_what_the_board_is_and_leaves_nothing(server: sshd.Server) -> None:
    (line,) = listen(server.way())
    assert isinstance(line, lines.Probe)
    assert line.numpy == np.__version__
    assert gone(server)


def test_files_go_to_the_board_and_the_logits_come_back(
    server: sshd.Server, tmp_path: Path
) -> None:
    said = listen(server.way(), "infer", to_infer(tmp_path))
    assert [line.type for line in said] == ["opened", "progress"]
    logits_nk = np.load(tmp_path / "logits.npy")
    np.testing.assert_array_equal(logits_nk, np.arange(8, dtype=np.float32).reshape(2, 4))
    assert gone(server)


def test_a_file_in_many_pieces_comes_back_whole(server: sshd.Server, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20_000, 2, 2, 1), dtype=np.uint8)
    request = to_infer(tmp_path) | {"batch": 10_000}
    np.save(tmp_path / "images.npy", images)
    listen(server.way(), "infer", request)
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), images.reshape(-1, 4))


def test_what_is_on_the_board_is_private(server: sshd.Server, tmp_path: Path) -> None:
    with session.talk("run", to_run(tmp_path), reach=server.way()) as said:
        next(said)
        (folder,) = (server.board / "0").glob("edgekd-landed-*")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert gone(server)  # leaving early ends agent and workers, over there as well


def test_a_file_that_is_missing_is_named_before_anything_is_sent(
    server: sshd.Server, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=r"no file '.*gone\.onnx'"):
        listen(server.way(), "infer", to_infer(tmp_path) | {"model": Sent(tmp_path / "gone.onnx")})


def test_a_model_that_the_board_cannot_open_is_a_record_error(
    server: sshd.Server, tmp_path: Path
) -> None:
    request = to_infer(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(RecordError, match=r"a\.onnx' cannot be opened"):
        listen(server.way(), "infer", request)
    assert gone(server)


def test_names_with_blanks_and_quotes_reach_the_board_as_they_are(
    server: sshd.Server, tmp_path: Path
) -> None:
    folder = tmp_path / 'it\'s; $(touch hacked) "a" board'
    folder.mkdir()
    python = script(folder, f'exec {shlex.quote(sys.executable)} "$@"')
    request = to_infer(folder)
    listen(server.way(python=python), "infer", request)
    assert (folder / "logits.npy").exists()


def test_the_trtexec_of_a_device_comes_before_that_of_its_path(
    server: sshd.Server, tmp_path: Path
) -> None:
    program = tmp_path / "trtexec"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (line,) = listen(server.way(trtexec=str(program)))
    assert isinstance(line, lines.Probe)
    assert line.trtexec == str(program)


# --- Ways that are barred


def barred(way: ssh.Ssh) -> str:
    with pytest.raises(DeviceError) as caught:
        listen(way)
    assert caught.value.exit_status == 4
    return str(caught.value)


@pytest.fixture
def other_hosts(server: sshd.Server, tmp_path: Path) -> Callable[[str], Path]:
    """Write another list of known hosts, and a configuration that names it."""

    def write(text: str) -> Path:
        (tmp_path / "known_hosts").write_text(text)
        config = tmp_path / "ssh_config"
        config.write_text(f"UserKnownHostsFile {tmp_path}/known_hosts\n")
        return config

    return write


def test_a_changed_host_key_is_told_and_not_learnt(
    server: sshd.Server, other_hosts: Callable[[str], Path], tmp_path: Path
) -> None:
    text = f"[127.0.0.1]:{server.ports[0]} {sshd.key(tmp_path / 'another')}"
    said = barred(server.way(config=other_hosts(text)))
    assert "'bench' (127.0.0.1) cannot be reached: its host key has changed" in said
    assert "ssh-keygen -R" in said
    assert (tmp_path / "known_hosts").read_text() == text


def test_an_unknown_host_key_is_told_and_not_learnt(
    server: sshd.Server, other_hosts: Callable[[str], Path], tmp_path: Path
) -> None:
    assert "its host key is not known" in barred(server.way(config=other_hosts("")))
    assert (tmp_path / "known_hosts").read_text() == ""


def test_a_refused_key_is_told(server: sshd.Server, tmp_path: Path) -> None:
    sshd.key(tmp_path / "stranger")
    assert "refuses the key" in barred(server.way(identity=tmp_path / "stranger"))


def test_a_name_that_does_not_resolve_is_told(server: sshd.Server) -> None:
    assert "name cannot be resolved" in barred(server.way(host="no-such-board.invalid"))


def test_a_closed_port_is_told(server: sshd.Server) -> None:
    (port,) = sshd.free_ports(1)
    assert "nothing listens at its port" in barred(server.way(port=port))


def test_a_board_that_does_not_answer_is_told(
    server: sshd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ssh._OPTIONS, "ConnectTimeout", "1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert "does not answer" in barred(server.way(port=mute.getsockname()[1]))


def test_a_python_that_is_missing_is_told(server: sshd.Server) -> None:
    assert "no Python 3.8 or later called 'python2.9'" in barred(server.way(python="python2.9"))


def test_a_folder_that_is_missing_is_told(server: sshd.Server) -> None:
    assert "No such file or directory: '/nowhere/" in barred(server.way(folder="/nowhere"))


# --- Boards that fail


@dataclass(frozen=True)
class Disturbed:
    """A way on which something happens once so many bytes of the errand are sent."""

    way: ssh.Ssh
    after: int
    happens: Callable[[], None]

    @property
    def place(self) -> str:
        return self.way.place

    @property
    def pauses_s(self) -> tuple[float, ...]:
        return self.way.pauses_s

    def prepare(self, trip: Errand, folder: Path) -> Start:
        start = self.way.prepare(trip, folder)
        feed = start.feed
        assert feed is not None
        return replace(start, feed=lambda stdin, ended: feed(_Pipe(stdin, self), ended))  # type: ignore[arg-type]

    def fault(self, status: int, stderr: str, *, landed: bool) -> DeviceError | None:
        return self.way.fault(status, stderr, landed=landed)


class _Pipe:
    def __init__(self, pipe: IO[bytes], way: Disturbed) -> None:
        self._pipe, self._way, self._sent = pipe, way, 0

    def write(self, data: bytes) -> int:
        before, self._sent = self._sent, self._sent + len(data)
        written = self._pipe.write(data)
        self._pipe.flush()
        if before < self._way.after <= self._sent:
            self._way.happens()
        return written

    def flush(self) -> None:
        self._pipe.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._pipe:
            pass


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


def disturbed_run(way: ssh.Ssh, folder: Path, happens: Callable[[], None]) -> list[str]:
    """Let something happen once the model is open, and return the types of the lines."""
    seen = []
    with session.talk("run", to_run(folder), reach=way) as said:
        for line in said:
            seen.append(line.type)
            if line.type == "opened":
                happens()
    return seen


def test_a_connection_that_is_cut_during_a_run_is_told_and_not_tried_again(
    server: sshd.Server, tmp_path: Path
) -> None:
    cuts = []

    def cut() -> None:
        cuts.append(server.cut())

    with pytest.raises(LostError, match="the connection was cut before the agent was done"):
        disturbed_run(server.way(pauses_s=(0.1,)), tmp_path, cut)
    assert len(cuts) == 1
    assert gone(server)


def test_a_full_disk_is_told(server: sshd.Server, large: dict[str, object], tmp_path: Path) -> None:
    limited = script(tmp_path, f'ulimit -f 1000\nexec {sys.executable} "$@"')  # kB
    with pytest.raises(DeviceError, match="File too large"):
        listen(server.way(python=limited), "infer", large)
    assert gone(server)


def test_an_agent_that_is_killed_is_told(server: sshd.Server, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"ended by signal 9 .*enough memory"):
        disturbed_run(server.way(), tmp_path, lambda: os.kill(min(agents(server)), 9))
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


@pytest.mark.slow
def test_twenty_boards_answer_at_once(tmp_path: Path) -> None:
    def visit(number: int) -> Any:
        folder = tmp_path / f"errand-{number}"
        folder.mkdir()
        listen(fleets[number % 2].way(number=number // 2), "infer", to_infer(folder))
        return np.load(folder / "logits.npy").tolist()

    with ExitStack() as stack:
        fleets = []
        for name in ("left", "right"):  # an sshd listens at 16 ports at most
            (tmp_path / name).mkdir()
            fleet = sshd.serving(tmp_path / name, sys.executable, boards=10)
            fleets.append(stack.enter_context(fleet))
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(visit, range(20)))
        assert found == [np.arange(8.0).reshape(2, 4).tolist()] * 20
        assert all(fleet.emptied() for fleet in fleets)
