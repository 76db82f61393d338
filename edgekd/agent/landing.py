"""Land on a board: take files from stdin, run the agent beside them, send back, leave nothing.

The whole text of this file is the program of ``python3 -I -c`` over SSH, so it imports nothing of
the agent. It needs one connection only. Towards the board: the errand's length in ten digits, the
errand in JSON, the bytes of its files one after another, then a byte now and then as a sign of
life. Back: JSON lines, the agent's among them. It ends the agent and removes its folder when stdin
ends, when no sign of life has come for long, and when time is up; whatever a killed one left is
swept by the next.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

SILENT_S = 60.0  # without a sign of life the caller is taken for gone
PIECE = 192 * 1024  # bytes of a file in one line
PREFIX = "edgekd-landed-"
_STALE_S = 3600.0
_FAREWELL_S = 5.0  # to say why the agent is ended
_OLDEST = (3, 8)
_DIGITS = 10  # of the errand's length
_DONE = b'{"schema_version": 1, "type": "done"}'


class RefusedError(Exception):
    """Something that the caller must hear about."""


class Watch(threading.Thread):
    """End everything when the caller has gone or time is up."""

    def __init__(self, folder: str) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.agent: Optional[subprocess.Popen[bytes]] = None
        self.limit_s = 0.0
        self.leaving = False
        self.end: Optional[float] = None  # on the monotonic clock; None: not started yet

    def guard(self, agent: subprocess.Popen[bytes], limit_s: float) -> None:
        """End ``agent`` with everything else, and everything after ``limit_s`` seconds."""
        self.agent, self.limit_s = agent, limit_s
        self.end = time.monotonic() + limit_s

    def run(self) -> None:
        """Wait for the end."""
        heard = time.monotonic()
        while True:
            ready = select.select([0], [], [], 0.5)[0]
            now = time.monotonic()
            heard = now if ready else heard
            if (ready and not os.read(0, 4096)) or now - heard > SILENT_S:
                self._leave()
            if self.end is not None and now > self.end:
                why = "the agent was ended: it took longer than %g s" % self.limit_s
                telling = threading.Thread(target=refuse, args=(why,), daemon=True)
                telling.start()
                telling.join(_FAREWELL_S)  # where nobody reads, writing does not end
                self._leave()

    def _leave(self) -> None:
        self.leaving = True
        end(self.agent)
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)


_writing = threading.Lock()


def write(line: bytes) -> None:
    """Write one line, whole."""
    rest = line + b"\n"
    with _writing:
        while rest:
            rest = rest[os.write(1, rest) :]


def say(line_type: str, **fields: Any) -> None:
    """Write one line of schema 1."""
    write(json.dumps(dict({"schema_version": 1, "type": line_type}, **fields)).encode())


def refuse(message: str) -> None:
    """Say why nothing more will come."""
    say("error", kind="board", message=message)


def end(agent: Optional[subprocess.Popen[bytes]]) -> None:
    """End the agent and its workers."""
    if agent is not None:
        with contextlib.suppress(OSError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()


def boot_id() -> Optional[str]:
    """Return what Linux calls the last start of this machine; another one tells of a restart."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return None


def check_python() -> None:
    """Go on only with a Python that is new enough for the agent."""
    if sys.version_info < _OLDEST:
        raise RefusedError(
            "its Python is %s, and the agent needs %d.%d: name another as 'python' in the "
            "inventory" % (sys.version.split()[0], *_OLDEST)
        )


def receive(most: int) -> bytes:
    """Read 1 to ``most`` bytes from stdin.

    Raises:
        RefusedError: it has ended, or nothing comes.
    """
    chunk = os.read(0, most) if select.select([0], [], [], SILENT_S)[0] else b""
    if not chunk:
        raise RefusedError("the connection ended before everything was sent")
    return chunk


def receive_all(count: int) -> bytes:
    """Read ``count`` bytes."""
    found = b""
    while len(found) < count:
        found += receive(count - len(found))
    return found


def take(files: List[Dict[str, Any]]) -> None:
    """Read files from stdin into the working directory, and check each.

    Raises:
        RefusedError: there is no room, or a file arrives incomplete or damaged.
    """
    needed, free = sum(file["size"] for file in files), shutil.disk_usage(".").free
    if needed > free:
        raise RefusedError(
            "%d MiB must be sent, but '%s' has %d MiB free: make room, or name another 'folder' in "
            "the inventory" % (needed >> 20, os.getcwd(), free >> 20)
        )
    for file in files:
        digest, rest = hashlib.sha256(), file["size"]
        os.makedirs(os.path.dirname(file["name"]) or ".", exist_ok=True)
        with open(file["name"], "wb") as out:
            while rest:
                chunk = receive(min(rest, 1 << 20))
                out.write(chunk)
                digest.update(chunk)
                rest -= len(chunk)
        if digest.hexdigest() != file["sha256"]:
            raise RefusedError("'%s' has arrived damaged: send it again" % file["name"])


@contextlib.contextmanager
def alone(client: str, wait_s: float, tell: Callable[..., object]) -> Iterator[None]:
    """Hold the machine's lock: what is measured must not share the machine with another errand.

    Agents without a landing take it, too. ``tell`` writes a line, "waiting", as ``say`` would.

    Raises:
        RefusedError: another client has it, and keeps it for ``wait_s``; or it cannot be opened.
    """
    lock = open_lock(os.path.join(tempfile.gettempdir(), "edgekd.lock"))
    try:
        limit, told = time.monotonic() + wait_s, False
        while not locked(lock):
            holder = os.pread(lock, 200, 0).decode("utf-8", "replace").strip() or "somebody"
            if time.monotonic() > limit:
                raise RefusedError("the machine is in use by %s: try again later" % holder)
            if not told:
                tell("waiting", holder=holder)
                told = True
            time.sleep(0.2)
        os.ftruncate(lock, 0)
        os.pwrite(lock, ("%s since %s" % (client, time.strftime("%F %T"))).encode(), 0)
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def open_lock(path: str) -> int:
    """Open a file that every user of the machine may lock."""
    try:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        # Only now: kernels refuse O_CREAT for another user's file in /tmp.
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o666)
        os.fchmod(lock, 0o666)
    except OSError as error:
        raise RefusedError(
            "the lock of this machine, '%s', cannot be opened: %s. It must be a file that every "
            "user may write to: remove it" % (path, error.strerror)
        ) from error
    return lock


def locked(file: int) -> bool:
    """Try to lock an open file or folder."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sweep(parent: str) -> None:
    """Remove what landings that were killed have left; a living one holds its folder's lock."""
    for path in glob.glob(os.path.join(glob.escape(parent), PREFIX + "*")):
        with contextlib.suppress(OSError):
            facts = os.stat(path)
            if facts.st_uid != os.getuid() or time.time() - facts.st_mtime < _STALE_S:
                continue
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if locked(folder):
                shutil.rmtree(path, ignore_errors=True)
            os.close(folder)


def run(errand: Dict[str, Any], watch: Watch) -> int:
    """Run the agent, pass on its lines, send the files that it wrote, and return its status."""
    for name in errand["fetch"]:
        os.makedirs(os.path.dirname(name), exist_ok=True)
    command = [sys.executable, "agent.pyz"] + errand["arguments"]
    if errand["path"]:
        os.environ["PATH"] = errand["path"] + os.pathsep + os.environ.get("PATH", os.defpath)
    agent = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    watch.guard(agent, errand["limit_s"])
    done = b""
    try:
        assert agent.stdout is not None
        for line in agent.stdout:
            if line.strip() == _DONE:
                done = _DONE  # held back until the files are sent
            elif line.endswith(b"\n"):  # else it was ended in the middle of it
                write(line[:-1])
        status = agent.wait()
    finally:
        end(agent)
    if watch.leaving:  # it was the watch that ended the agent, and ends this process next
        watch.join()
    if status < 0:
        memory = " (was there enough memory?)" if status == -signal.SIGKILL else ""
        refuse("the agent was ended by signal %d before it was done%s" % (-status, memory))
        return 1
    if done and status == 0:
        for name in errand["fetch"]:
            send(name)
        write(_DONE)
    return status


def send(name: str) -> None:
    """Send one file in pieces; the last has its SHA-256."""
    if not os.path.isfile(name):
        raise RefusedError("the agent says that it is done, but has not written '%s'" % name)
    digest = hashlib.sha256()
    with open(name, "rb") as file:
        for chunk in iter(lambda: file.read(PIECE), b""):
            digest.update(chunk)
            say("piece", name=name, data=base64.b64encode(chunk).decode(), sha256=None)
    say("piece", name=name, data="", sha256=digest.hexdigest())


def main() -> int:
    """Do one errand and return the agent's status."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        say("landed", boot_id=boot_id())
        check_python()
        errand = json.loads(receive_all(int(receive_all(_DIGITS))))
        sweep(errand["folder"])
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=errand["folder"]) as folder:
            os.chdir(folder)
            locked(os.open(folder, os.O_RDONLY))  # held until this process ends
            take(errand["files"])
            watch = Watch(folder)
            watch.start()
            with contextlib.ExitStack() as stack:
                if errand["alone"]:
                    stack.enter_context(alone(errand["client"], errand["wait_s"], say))
                say("ready")
                return run(errand, watch)
    except (OSError, ValueError, RefusedError) as error:
        with contextlib.suppress(OSError):  # the caller may have gone
            refuse(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
