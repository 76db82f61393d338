"""Errands in the middle of which something happens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self

from edgekd.core.errors import DeviceError
from edgekd.remote import session, ssh
from edgekd.remote.errand import Errand, Reach, Start


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

    @property
    def return_s(self) -> float:
        return self.way.return_s

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


def disturbed(
    way: Reach, request: Mapping[str, object], at: str, happens: Callable[[], None]
) -> list[str]:
    """Let something happen at a run's first line of a type, and return the types of all lines."""
    seen: list[str] = []
    with session.talk("run", request, reach=way) as said:
        for line in said:
            seen.append(line.type)
            if line.type == at and seen.count(at) == 1:
                happens()
    return seen
