"""Boards as hosts of a network of their own, each with an address, an sshd and a boot id.

All of it is Linux namespaces: the thread that opens a network moves into it, and so do the
processes that it starts; nothing of it is seen outside, so many tests may have one at once. A
board's cables can be pulled, and its power can be cut; its disk is a folder of this machine. What
holds a namespace is a process whose stdin is a pipe from here: it ends when this process does,
however that ends, and interfaces and boards with it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from edgekd.remote.ssh import Ssh
from tests.remote import sshd

MISSING = "network namespaces cannot be made"
_IP = shutil.which("ip") or "/usr/sbin/ip"
_CLONE_NEWNET = 0x40000000  # setns(2)
_HERE = "10.1.0.1/24"  # of this thread, at the network's switch
_NAMESPACES = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
_TRIAL = f"""
{_IP} link add type veth && {_IP} link add switch type bridge &&
mount --bind /dev/null /proc/sys/kernel/random/boot_id
"""
# The first process of a board, in namespaces of its own. $1: its boot id; $2: its sshd_config; $3:
# its /sys/bus, or ""; then its addresses, one for each cable: plugged when it has said "on".
_INIT = f"""
mount --bind "$1" /proc/sys/kernel/random/boot_id && {_IP} link set lo up || exit 1
[ -z "$3" ] || mount --bind "$3" /sys/bus || exit 1
config=$2; shift 3; echo on; read -r plugged || exit 1
number=0
for address; do
  {_IP} address add "$address/24" dev "port$number" && {_IP} link set "port$number" up || exit 1
  number=$((number + 1))
done
{sshd.PROGRAM} -D -e -f "$config" & exec cat > /dev/null
"""


@cache
def possible() -> bool:
    """Say whether this user may make namespaces, and has the programs for it."""
    if os.geteuid() != 0 or not all(map(shutil.which, (_IP, "unshare", sshd.PROGRAM))):
        return False
    tried = subprocess.run([*_NAMESPACES, "sh", "-c", _TRIAL], capture_output=True, check=False)
    return tried.returncode == 0 and Path("/proc/thread-self/children").exists()


@dataclass
class Board:
    """A host of the network; off until ``boot``.

    ``addresses`` has one for each switch that it is plugged into; ``bus`` is a folder that takes
    the place of its /sys/bus.
    """

    name: str
    number: int
    addresses: dict[str, str]
    lab: Path
    environment: dict[str, str] = field(default_factory=dict)
    bus: Path | None = None
    _power: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """What its sshd reads."""
        return self.lab / self.name

    @property
    def board(self) -> Path:
        """Its temporary folder."""
        return self.folder / "tmp"

    @property
    def address(self) -> str:
        """Its first address."""
        return next(iter(self.addresses.values()))

    def way(self, **changes: object) -> Ssh:
        given: dict[str, object] = {
            "name": self.name, "host": self.address, "config": self.lab / "ssh_config",
            "python": sys.executable, "folder": str(self.board), "pauses_s": (), "return_s": 30.0,
        }  # fmt: skip
        return Ssh(**(given | changes))  # type: ignore[arg-type]

    def entry(self, profile: str = "host-cpu", **changes: str) -> str:
        """Return its table in an inventory."""
        keys = {
            "profile": profile, "host": self.address, "python": sys.executable,
            "ssh_config": str(self.lab / "ssh_config"), "folder": str(self.board), **changes,
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        return "\n".join([f"[{self.name}]", *lines, ""])

    @property
    def boot_id(self) -> str:
        """What its kernel calls its last start."""
        return (self.folder / "boot_id").read_text().strip()

    def left(self) -> list[str]:
        """Name what errands have left on it."""
        return sorted(path.name for path in self.board.glob("edgekd-landed-*"))

    def emptied(self) -> bool:
        """Wait until no errand's folder is left, and say whether it came to that."""
        return sshd.comes_true(lambda: not self.left())

    def install(self) -> None:
        """Give it a host key of its own, as flashing does; and trust it, if none was known."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.board.mkdir(parents=True)
        host_key = sshd.key(self.folder / "host_key")
        (self.folder / "authorized_keys").write_text((self.lab / "user_key.pub").read_text())
        variables = {"TMPDIR": str(self.board), **self.environment}
        words = " ".join(f"{name}={value}" for name, value in variables.items())
        settings = [*sshd.settings(self.folder), f"SetEnv {words}"]
        (self.folder / "sshd_config").write_text("\n".join(settings) + "\n")
        known = self.lab / "known_hosts"
        trusted = known.read_text() if known.exists() else ""
        if f"{self.address} " not in trusted:
            known.write_text(f"{trusted}{self.address} {host_key}")

    def boot(self) -> None:
        """Switch it on, and return when its sshd listens."""
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        config = self.folder / "sshd_config"
        given = [str(self.folder / "boot_id"), str(config), str(self.bus or "")]
        with (self.folder / "log").open("w") as log:
            self._power = subprocess.Popen(
                [*_NAMESPACES, "sh", "-c", _INIT, "sh", *given, *self.addresses.values()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._power.stdin is not None
        assert self._power.stdout is not None
        assert self._power.stdout.readline() == b"on\n", self._log()
        for port, (switch, cable) in enumerate(zip(self.addresses, self._cables(), strict=True)):
            mac = f"02:00:00:00:{port:02x}:{self.number:02x}"  # the same after a restart
            _ip("link", "add", cable, "type", "veth", "peer", "name", f"port{port}",
                "address", mac, "netns", self._power.pid)  # fmt: skip
            _ip("link", "set", cable, "master", switch, "up")
        self._power.stdin.write(b"plugged\n")
        self._power.stdin.flush()
        self._await()

    def lose_power(self) -> None:
        """End all that runs on it at once; without its cables nobody is told."""
        self.unplug()
        self.halt()

    def halt(self) -> None:
        """End all that runs on it; who is connected is told by its kernel."""
        if self._power is not None:
            pid = self._power.pid
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)  # the first process: the others end with it
            self._power.communicate()
            self._power = None
            for cable in self._cables():  # the kernel takes them away, but a little later
                subprocess.run([_IP, "link", "delete", cable], capture_output=True, check=False)

    def reflash(self) -> None:
        """Install it anew: it has another host key then, at the same address."""
        self.halt()
        self.install()
        self.boot()

    def unplug(self) -> None:
        """Pull its cables."""
        for cable in self._cables():
            _ip("link", "set", cable, "down")

    def plug(self) -> None:
        """Put its cables back."""
        for cable in self._cables():
            _ip("link", "set", cable, "up")

    def _cables(self) -> list[str]:
        return [f"cable{self.number}.{port}" for port in range(len(self.addresses))]

    def _await(self) -> None:
        """Wait until its sshd says that it listens: this thread may have no way to it."""
        assert self._power is not None
        end = time.monotonic() + 30
        while "Server listening on 0.0.0.0" not in self._log():
            assert self._power.poll() is None, self._log()
            assert time.monotonic() < end, f"sshd does not listen: {self._log()}"
            time.sleep(0.02)

    def _log(self) -> str:
        return (self.folder / "log").read_text()


@dataclass
class Network:
    """A network that this thread is in; ``folder`` has its keys and lists."""

    folder: Path
    boards: list[Board] = field(default_factory=list)

    def board(self, name: str, bus: Path | None = None, **environment: str) -> Board:
        """Plug a running board into this thread's switch."""
        return self._added(name, {"switch": self._address(1)}, environment, bus)

    def gateway(self, name: str, switch: str) -> Board:
        """Plug a running board into this thread's switch and into a new one."""
        _ip("link", "add", switch, "type", "bridge")
        _ip("link", "set", switch, "up")
        return self._added(name, {"switch": self._address(1), switch: self._address(2)})

    def hidden(self, name: str, switch: str) -> Board:
        """Plug a running board into a gateway's switch, which this thread has no way to."""
        return self._added(name, {switch: self._address(2)})

    def _address(self, subnet: int) -> str:
        return f"10.{subnet}.0.{10 + len(self.boards)}"

    def _added(
        self,
        name: str,
        addresses: dict[str, str],
        environment: dict[str, str] | None = None,
        bus: Path | None = None,
    ) -> Board:
        board = Board(name, len(self.boards), addresses, self.folder, environment or {}, bus)
        self.boards.append(board)
        board.install()
        board.boot()
        return board


@contextmanager
def opened(folder: Path) -> Iterator[Network]:
    """Move this thread into a new network that has a switch and no boards yet."""
    sshd.separate_privileges()
    sshd.key(folder / "user_key")
    (folder / "ssh_config").write_text(
        f"UserKnownHostsFile {folder}/known_hosts\nIdentityFile {folder}/user_key\n"
    )
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo on; exec cat > /dev/null"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    network = Network(folder)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"on\n"
        with _inside(holder.pid):
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "switch", "type", "bridge")
            _ip("address", "add", _HERE, "dev", "switch")
            _ip("link", "set", "switch", "up")
            try:
                yield network
            finally:
                for board in network.boards:
                    board.halt()
    finally:
        holder.communicate()


@contextmanager
def _inside(pid: int) -> Iterator[None]:
    """Let this thread, and what it starts, use another process's network."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        Path("/proc/thread-self/ns/net").open() as here,
        Path(f"/proc/{pid}/ns/net").open() as there,
    ):
        assert libc.setns(there.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(here.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def _ip(*words: object) -> None:
    subprocess.run([_IP, *map(str, words)], check=True)
