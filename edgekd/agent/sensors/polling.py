"""Read files at fixed intervals: what all sources under /sys share."""

from __future__ import annotations

import threading
import time
from typing import Callable, Dict, Optional


class Polled:
    """A source that is asked again and again.

    Args:
        name: of the source.
        unit: "mW" or "uJ".
        interval_ms: between two readings, > 0.
        take: one reading, rail -> value; None: a sensor did not answer.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        interval_ms: int,
        take: Callable[[], Optional[Dict[str, float]]],
    ) -> None:
        self.name, self.unit = name, unit
        self._take = take
        self._interval_s = interval_ms / 1000
        self._due_s = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> Optional[Dict[str, float]]:
        """Return the next reading; {} if a sensor did not answer, None once it is closed."""
        if self._closed.wait(max(0.0, self._due_s - time.monotonic())):
            return None
        self._due_s = max(self._due_s + self._interval_s, time.monotonic())
        return self._take() or {}

    def close(self) -> None:
        """Make ``read`` return None."""
        self._closed.set()
