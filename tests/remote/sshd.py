"""A real sshd on this machine's loopback, with keys and configuration of its own."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekd.remote.ssh import Ssh

PROGRAM = shutil.which("sshd") or "/usr/sbin/sshd"
MISSING = "openssh-server is missing"


@dataclass(frozen=True)
class Server:
    """A running sshd; ``folder`` has the keys, ``board`` is what its clients' TMPDIR is."""

    folder: Path
    ports: tuple[int, ...]
    python: str

    @property
    def board(self) -> Path:
        return self.folder / "board"

    def way(self, name: str = "bench", number: int = 0, **changes: object) -> Ssh:
        given: dict[str, object] = {
            "name": name,
            "host": "127.0.0.1",
            "port": self.ports[number],
            "identity": self.folder / "user_key",
            "config": self.folder / "ssh_config",
            "python": self.python,
            "folder": str(self.board / str(number)),
            "pauses_s": (),
        }
        return Ssh(**(given | changes))  # type: ignore[arg-type]

    def inventory(self, name: str) -> Path:
        """Write an inventory that has the first board."""
        way = self.way(name)
        keys = {
            "profile": "host-cpu", "host": way.host, "port": way.port, "python": way.python,
            "identity": str(way.identity), "ssh_config": str(way.config), "folder": way.folder,
        }  # fmt: skip
        file = self.folder / "devices.toml"
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        file.write_text("\n".join([f"[{name}]", *lines]))
        return file

    def left(self) -> list[str]:
        """Name what errands have left on the board."""
        return sorted(path.name for path in self.board.glob("*/edgekd-landed-*"))

    def emptied(self) -> bool:
        """Wait until no errand's folder is left, and say whether it came to that."""
        return comes_true(lambda: not self.left())

    def connections(self) -> list[int]:
        """Return the processes of sshd that serve a client."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:  # it has ended
                continue
            # From OpenSSH 9.8 on a session is a program of its own.
            if words.startswith((b"sshd: ", b"sshd-session: ")) and b"listener" not in words:
                found.append(int(path.parent.name))
        return found

    def cut(self) -> None:
        """Kill what serves the clients, as a board that loses its power."""
        for pid in self.connections():
            if _parent(_parent(pid)) == self._pid() or _parent(pid) == self._pid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _pid(self) -> int:
        return int((self.folder / "pid").read_text())


def comes_true(what: Callable[[], bool], patience_s: float = 60.0) -> bool:
    """Wait for something, and say whether it came to that."""
    end = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def key(file: Path) -> str:
    """Make a key and return its public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file.with_suffix(".pub").read_text()


def free_ports(count: int) -> tuple[int, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    return ports


@contextmanager
def serving(folder: Path, python: str, boards: int = 1) -> Iterator[Server]:
    """Run an sshd that has ``boards`` ports, each with a TMPDIR, and so a lock, of its own."""
    server = prepared(folder, python, boards)
    with listening(server):
        yield server


def prepared(folder: Path, python: str, boards: int = 1) -> Server:
    """Return a board that is still off; see ``serving``."""
    separate_privileges()
    server = Server(folder, free_ports(boards), python)
    (folder / "authorized_keys").write_text(key(folder / "user_key"))
    host_key = key(folder / "host_key")
    known = "".join(f"[127.0.0.1]:{port} {host_key}" for port in server.ports)
    (folder / "known_hosts").write_text(known)
    (folder / "ssh_config").write_text(f"UserKnownHostsFile {folder}/known_hosts\n")
    lines = [
        *settings(folder), "ListenAddress 127.0.0.1", *(f"Port {port}" for port in server.ports),
    ]  # fmt: skip
    for number, port in enumerate(server.ports):
        (server.board / str(number)).mkdir(parents=True)
        lines += [f"Match LocalPort {port}", f"  SetEnv TMPDIR={server.board / str(number)}"]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    return server


def separate_privileges() -> None:
    """Make the folder that sshd as root asks for."""
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def settings(folder: Path) -> list[str]:
    """Return the lines of an sshd_config that say nothing of addresses."""
    return [
        f"HostKey {folder}/host_key", f"PidFile {folder}/pid", "StrictModes no", "UsePAM no",
        f"AuthorizedKeysFile {folder}/authorized_keys", "PasswordAuthentication no",
        "KbdInteractiveAuthentication no", "PermitRootLogin yes", "MaxStartups 100",
    ]  # fmt: skip


@contextmanager
def listening(server: Server) -> Iterator[None]:
    """Run the sshd of a board."""
    folder = server.folder
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([PROGRAM, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        _await(server, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _await(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            for port in server.ports:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, (server.folder / "log").read_text()
            time.sleep(0.02)
        else:
            return
    raise AssertionError("sshd does not listen")
