"""Errands over a real sshd on the loopback; the board is this machine."""

import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.core.errors import DeviceError, RecordError, UsageError
from edgekd.remote import lines, session, ssh
from edgekd.remote.errand import Sent
from tests.remote import sshd
from tests.remote.errands import gone, listen, script, to_infer, to_run

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd"), sys.executable) as running:
        yield running


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
    with pytest.raises(RecordError, match=f"'{tmp_path}/a.onnx' cannot be opened"):
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


@pytest.mark.parametrize("key", ["identity", "config"])
def test_a_file_for_ssh_that_is_missing_is_named(
    server: sshd.Server, tmp_path: Path, key: str
) -> None:
    with pytest.raises(UsageError, match=r"'bench' \(127.0.0.1\): there is no file '.*gone'"):
        listen(server.way(**{key: tmp_path / "gone"}), "probe", None)


def test_a_configuration_whose_name_ends_its_line_is_refused(
    server: sshd.Server, tmp_path: Path
) -> None:
    config = tmp_path / 'a"\nProxyCommand touch hacked'
    config.write_text("")
    with pytest.raises(UsageError, match="must be without quotation marks"):
        listen(server.way(config=config, jump="gate"), "probe", None)


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
