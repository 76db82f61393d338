"""How long work says how far it is, without knowing who listens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count ``amount`` more units as done; ``note`` is shown beside the bar."""
        ...


class Progress(Protocol):
    """Whoever listens: the command line, or nobody."""

    def task(self, title: str, total: int) -> AbstractContextManager[Task]:
        """Announce work of ``total`` units."""
        ...


class _SilentTask:
    def advance(self, amount: int = 1, note: str = "") -> None:
        """Forget it."""


class Silent:
    """Listen to nothing: the default of the Python API."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """Return a task that forgets what it is told."""
        del title, total
        yield _SilentTask()
