"""What an agent is asked to do, which files it reads and writes, and the ways to reach it."""

import getpass
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from edgekd.agent import plan
from edgekd.core.errors import DeviceError
from edgekd.remote import lines, weights

WAIT_S = 600.0  # for another client that measures on the same machine


class LostError(DeviceError):
    """A connection that was lost, or never stood: another attempt may succeed."""


class AbsentError(DeviceError):
    """Nobody answers: whoever has time may wait, for a board that is starting."""


@dataclass(frozen=True)
class Sent:
    """A file of this machine that the agent reads; stands in a request in place of its path.

    Args:
        path: where it is.
        beside: files that lie beside it for the agent, too; it finds them by their names.
    """

    path: Path
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """A file of this machine that the agent writes; stands in a request in place of its path."""

    path: Path


def model(path: Path) -> Sent:
    """Return a model as it is sent: with an engine's record, or the files of an ONNX's weights.

    Raises:
        RecordError: such a file does not lie beside the model.
    """
    if path.suffix == ".onnx":
        return Sent(path, weights.files_of(path))
    record = Path(plan.sidecar(str(path)))
    return Sent(path, (record,) if record.is_file() else ())


def client() -> str:
    """Return who asks, for others who have to wait."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container knows numbers only
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


Named = Callable[[Sent | Fetched], str]


@dataclass(frozen=True)
class Errand:
    """A verb and its request."""

    verb: str
    request: Mapping[str, object] | None = None

    @property
    def measures(self) -> bool:
        """Say whether it must have its machine to itself: it takes times, or takes long."""
        return self.verb not in ("probe", "infer")

    def resolved(self, named: Named) -> dict[str, Any] | None:
        """Return the request as JSON values: each file as the agent calls it."""
        if self.request is None:
            return None
        return {"schema_version": 1, **_resolved(self.request, named)}


def _resolved(tree: Any, named: Named) -> Any:
    if isinstance(tree, Sent | Fetched):
        return named(tree)
    if isinstance(tree, Mapping):
        return {key: _resolved(value, named) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_resolved(value, named) for value in tree]
    return tree


@dataclass(frozen=True)
class Start:
    """How an agent is started for one errand.

    Args:
        command: the process whose stdout has the agent's lines.
        feed: writes its stdin, in a thread of its own, until the event; None: it has none.
        receive: takes a piece of a file that the agent wrote; None: it writes them here.
        translate: gives the files in a message of the agent's the names that they have here.
    """

    command: list[str]
    feed: Callable[[IO[bytes], threading.Event], None] | None = None
    receive: Callable[[lines.Piece], None] | None = None
    translate: Callable[[str], str] = str


class Reach(Protocol):
    """A way to an agent: on this machine, or over SSH."""

    @property
    def place(self) -> str:
        """Return where it leads, for messages; empty: here."""
        ...

    @property
    def pauses_s(self) -> tuple[float, ...]:
        """Return the seconds before each further attempt; empty: one attempt."""
        ...

    @property
    def return_s(self) -> float:
        """Return for how many seconds a board that was lost at work is asked why; 0: once."""
        ...

    def prepare(self, errand: Errand, folder: Path) -> Start:
        """Return how to start the agent; ``folder`` is private, and there until it ends."""
        ...

    def fault(self, status: int, stderr: str, *, landed: bool) -> DeviceError | None:
        """Say why the way was barred; None: it was not, the agent itself has ended."""
        ...
