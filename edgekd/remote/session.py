"""Start an agent and listen to it.

It runs in a clean process, without torch, so that neither memory nor threads of the caller
have a part in what it measures.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from edgekd.core.errors import DeviceError, EdgekdError, RecordError
from edgekd.remote import lines

log = logging.getLogger(__name__)

SILENCE_S = 900.0  # the longest block of the slowest model that is still believed
_ROOT = Path(__file__).parents[2]  # the folder that holds the package
_PATIENCE_S = 5.0
_TAIL = 2000  # characters of stderr that are shown


def local_command() -> list[str]:
    """Return how the agent is started on this machine."""
    return [sys.executable, "-m", "edgekd.agent"]


@contextlib.contextmanager
def talk(
    verb: str,
    request: Mapping[str, object] | None = None,
    *,
    command: Sequence[str] | None = None,
    silence_s: float = SILENCE_S,
) -> Iterator[Iterator[lines.Line]]:
    """Start the agent and yield its lines, without the closing "done"; end it with the block.

    Args:
        verb: "probe", "run" or "infer".
        request: what to do, but for ``schema_version``; paths must be absolute.
        command: how to start the agent; None: on this machine.
        silence_s: seconds without a line after which it is taken for dead, > 0.

    Raises:
        RecordError: the agent cannot use a model file.
        DeviceError: it cannot be started, is killed, falls silent or writes something else.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        arguments = [*(local_command() if command is None else command), verb]
        if request is not None:
            file = Path(folder) / "request.json"
            file.write_text(json.dumps({"schema_version": 1, **request}), encoding="utf-8")
            arguments.append(str(file))
        with (Path(folder) / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
            process = _start(arguments, stderr)
            texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
            pump = threading.Thread(target=_pump, args=(process, texts), daemon=True)
            pump.start()
            try:
                yield _lines(process, texts, stderr, silence_s)
            finally:
                _end(process)
                pump.join()
                _log(stderr)


def _start(arguments: list[str], stderr: IO[str]) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *([inherited] if inherited else [])])
    environment["PYTHONSAFEPATH"] = "1"  # a numpy.py in the working directory is not numpy
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # a group of its own, to be ended with its workers
        )
    except OSError as error:
        raise DeviceError(f"the agent cannot be started: {error}") from error


def _lines(
    process: subprocess.Popen[str],
    texts: "queue.SimpleQueue[str | None]",
    stderr: IO[str],
    silence_s: float,
) -> Iterator[lines.Line]:
    while True:
        try:
            text = texts.get(timeout=silence_s)
        except queue.Empty:
            raise DeviceError(f"the agent has said nothing for {silence_s:.0f} s") from None
        if text is None:
            raise DeviceError(_obituary(process.wait(), stderr))
        line = lines.parse(text)
        if isinstance(line, lines.Error):
            raise _raised(line)
        if isinstance(line, lines.Done):
            return
        yield line


def _pump(process: subprocess.Popen[str], texts: "queue.SimpleQueue[str | None]") -> None:
    """Read in a thread of its own: a pipe cannot be waited for with a time limit."""
    assert process.stdout is not None
    with process.stdout:
        for text in process.stdout:
            texts.put(text)
    texts.put(None)


def _raised(line: lines.Error) -> EdgekdError:
    return RecordError(line.message) if line.kind == "model" else DeviceError(line.message)


def _obituary(status: int, stderr: IO[str]) -> str:
    """Say how the agent ended, with the last of what it said on stderr."""
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    said = _read(stderr)[-_TAIL:].strip()
    return f"the agent {how} before it was done" + (f":\n{said}" if said else "")


def _end(process: subprocess.Popen[str]) -> None:
    """End the agent and its workers, however far they are."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
    process.wait()


def _log(stderr: IO[str]) -> None:
    for text in _read(stderr).splitlines():
        log.debug("agent: %s", text)


def _read(stderr: IO[str]) -> str:
    stderr.seek(0)
    return stderr.read()
