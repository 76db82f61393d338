"""Start an agent and listen to it.

It runs in a clean process, without torch, so that neither memory nor threads of the caller
have a part in what it measures; here, or on a board over SSH.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Self

from edgekd.core.errors import DeviceError, EdgekdError, RecordError
from edgekd.remote import bundle, lines, restart
from edgekd.remote.errand import WAIT_S, Errand, LostError, Reach, Start, client

log = logging.getLogger(__name__)

SILENCE_S = 900.0  # the longest block of the slowest model that is still believed
_ROOT = Path(__file__).parents[2]  # the folder that holds the package
_ANSWER_S = 60.0  # in which a board that can be reached answers
_PATIENCE_S = 5.0
_TAIL = 2000  # characters of stderr that are shown


def local_command() -> list[str]:
    """Return how the agent is started on this machine."""
    return [sys.executable, "-m", "edgekd.agent"]


@dataclass(frozen=True)
class Local:
    """The agent is a subprocess of this process.

    Args:
        command: how it is started; None: as it comes with edgekd.
        place: its name in messages.
        python: another Python of 3.8 or later to start it with; None: this one.
        wait_s: seconds to wait while somebody else measures on this machine, >= 0.
    """

    command: Sequence[str] | None = None
    place: str = ""
    python: str | None = None
    wait_s: float = WAIT_S
    pauses_s: tuple[float, ...] = ()
    return_s: float = 0.0

    def prepare(self, errand: Errand, folder: Path) -> Start:
        """Write the request; the agent reads and writes files where they are."""
        command = [*self._command(folder), errand.verb]
        request = errand.resolved(lambda file: str(file.path.absolute()))
        if request is not None:
            if errand.measures:
                request["alone"] = {"client": client(), "wait_s": self.wait_s}
            file = folder / "request.json"
            file.write_text(json.dumps(request), encoding="utf-8")
            command.append(str(file))
        return Start(command)

    def _command(self, folder: Path) -> Sequence[str]:
        if self.python is None:
            return local_command() if self.command is None else self.command
        bundle.write(folder / "agent.pyz")  # this Python's packages are not for that one
        return ["env", "-u", "PYTHONPATH", self.python, str(folder / "agent.pyz")]

    def fault(self, status: int, stderr: str, *, landed: bool) -> DeviceError | None:  # noqa: ARG002
        """Return None: no way leads to where we are."""
        return None


@contextlib.contextmanager
def talk(
    verb: str,
    request: Mapping[str, object] | None = None,
    *,
    reach: Reach | None = None,
    command: Sequence[str] | None = None,
    silence_s: float = SILENCE_S,
) -> Iterator[Iterator[lines.Line]]:
    """Start the agent and yield its lines, without the closing "done"; end it with the block.

    Args:
        verb: "probe", "run", "infer" ...
        request: what to do, but for ``schema_version``. Files stand in it as ``errand.Sent`` and
            ``errand.Fetched``; what the agent wrote is there when the lines end.
        reach: how to get to the agent; None: on this machine.
        command: how to start it on this machine; None: as it comes with edgekd.
        silence_s: seconds without a line after which it is taken for dead, > 0.

    Raises:
        RecordError: the agent cannot use a model file.
        DeviceError: it cannot be reached or started, is killed, falls silent or writes something
            else.
    """
    way = reach or Local(command)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        start = way.prepare(Errand(verb, request), Path(folder))
        agent = None
        try:
            with _arrived(way, start, Path(folder) / "stderr", silence_s) as agent:
                yield agent.said()
        except LostError as error:
            if agent is None:  # nothing had begun
                raise
            became = restart.told(agent.boot_id, partial(_boot_id, way), way.place, way.return_s)
            raise LostError(f"{error}; {became}") from None


def _boot_id(way: Reach) -> str | None:
    """Return what a board calls its last start.

    Raises:
        DeviceError: it cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        start = way.prepare(Errand("probe"), Path(folder))
        with _Agent(way, start, Path(folder) / "stderr", _ANSWER_S) as agent:
            agent.wait_until_ready()
            return agent.boot_id


@contextlib.contextmanager
def _arrived(way: Reach, start: Start, stderr: Path, silence_s: float) -> Iterator["_Agent"]:
    """Start the agent; over SSH, try again as long as it has not begun."""
    for pause_s in (*way.pauses_s, None):
        with _Agent(way, start, stderr, silence_s) as agent:
            try:
                if start.feed is not None:
                    agent.wait_until_ready()
            except LostError as error:
                if pause_s is None:
                    raise
                log.warning("%s. Trying again in %.0f s.", str(error).rstrip("."), pause_s)
            else:
                yield agent
                return
        time.sleep(pause_s)


class _Agent:
    """A running agent, or the ssh that leads to it."""

    def __init__(self, way: Reach, start: Start, stderr: Path, silence_s: float) -> None:
        self._way, self._start, self._silence_s = way, start, silence_s
        self._stderr = stderr.open("w+", encoding="utf-8", errors="replace")
        self._landed = start.feed is None
        self.boot_id: str | None = None  # of the board, once landed
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        try:
            self._process = _started(start, self._stderr)
        except DeviceError:
            self._stderr.close()
            raise
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._pump, daemon=True)]
        if start.feed is not None:
            assert self._process.stdin is not None
            given = (self._process.stdin, self._ended)
            self._threads.append(threading.Thread(target=start.feed, args=given, daemon=True))
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        _end(self._process)
        for thread in self._threads:
            thread.join()
        for text in self._read_stderr().splitlines():
            log.debug("agent: %s", text)
        self._stderr.close()

    def wait_until_ready(self) -> None:
        """Return when the agent begins.

        Raises:
            LostError: the connection was lost before; nothing has been measured yet.
            DeviceError: the board cannot be reached, or refuses.
        """
        while not isinstance(line := self._next(), lines.Ready):
            if isinstance(line, lines.Error):
                raise self._raised(line)
            if isinstance(line, lines.Landed):
                self.boot_id = line.boot_id
            self._landed = True

    def said(self) -> Iterator[lines.Line]:
        """Yield what the agent says until it is done."""
        while not isinstance(line := self._next(), lines.Done):
            if isinstance(line, lines.Error):
                raise self._raised(line)
            if isinstance(line, lines.Piece) and self._start.receive is not None:
                self._start.receive(line)
            else:
                yield line

    def _next(self) -> lines.Line:
        while isinstance(line := self._heard(), lines.Waiting):
            place = self._way.place or "this machine"
            log.warning("%s is in use by %s: waiting for it.", place, line.holder)
        return line

    def _heard(self) -> lines.Line:
        while True:
            try:
                text = self._texts.get(timeout=self._silence_s)
            except queue.Empty:
                message = f"the agent has said nothing for {self._silence_s:.0f} s"
                raise self._failed(message) from None
            if text is None:
                raise self._obituary()
            if self._landed or text.startswith("{"):
                return lines.parse(text)
            log.debug("before the agent: %s", text.rstrip())  # a login shell's greeting

    def _obituary(self) -> DeviceError:
        """Say how the agent ended, with the last of what it said on stderr."""
        status, said = self._process.wait(), self._read_stderr()
        fault = self._way.fault(status, said, landed=self._landed)
        if fault is not None:
            return fault
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        last = said[-_TAIL:].strip()
        return self._failed(f"the agent {how} before it was done" + (f":\n{last}" if last else ""))

    def _raised(self, line: lines.Error) -> EdgekdError:
        message = self._start.translate(line.message)
        return RecordError(message) if line.kind == "model" else self._failed(message)

    def _failed(self, message: str) -> DeviceError:
        place = self._way.place
        return DeviceError(f"{place}: {message}" if place else message)

    def _pump(self) -> None:
        """Read in a thread of its own: a pipe cannot be waited for with a time limit."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                if line.endswith(b"\n"):  # else it was cut: how it ended says more
                    self._texts.put(line.decode("utf-8", "replace"))
        self._texts.put(None)

    def _read_stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()


def _started(start: Start, stderr: IO[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([inherited] if inherited else [])])
    environment["PYTHONSAFEPATH"] = "1"  # a numpy.py in the working directory is not numpy
    environment["SSH_ASKPASS_REQUIRE"] = "never"  # no window asks for a password
    try:
        return subprocess.Popen(
            start.command,
            stdin=subprocess.DEVNULL if start.feed is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,  # a group of its own, to be ended with its workers
        )
    except OSError as error:
        raise DeviceError(f"the agent cannot be started: {error}") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the agent and its workers, however far they are."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    process.wait()
