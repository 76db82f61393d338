"""One file a source of power or energy readings; all of them work for any user, without root.

A module here is called like its source and has ``open_source(root, interval_ms)``: it returns a
``Source``, or None where this machine has no such thing. ``root`` is that of the file system;
another one holds what was recorded elsewhere.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Dict, Optional

if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """Readings of one machine's sensors, one after the other."""

        name: str
        unit: str  # "mW", or "uJ": a counter of energy since the first reading

        def read(self) -> Optional[Dict[str, float]]:
            """Wait for the next reading: rail -> value; None: there will be no more."""
            ...

        def close(self) -> None:
            """End it; a ``read`` that waits in another thread returns None."""
            ...


# On boards tegrastats comes first: it alone knows all rails by NVIDIA's names, Thor's input too.
_FILES = ("ina3221", "hwmon", "rapl")  # a zipapp has no folder to list
_NAMES = ("tegrastats", *_FILES)


class SensorError(Exception):
    """Why power cannot be measured: what is missing, or what has failed."""


def open_source(interval_ms: int, root: str = "/", *, files_only: bool = False) -> Source:
    """Open the first source that this machine has; one that is there but fails is not passed over.

    Args:
        interval_ms: between two readings, > 0.
        root: of the file system.
        files_only: start no program that would run beside what is measured.

    Raises:
        SensorError: there is none, or this user may not read it.
    """
    for name in _FILES if files_only else _NAMES:
        module = importlib.import_module("." + name, __name__)
        source: Optional[Source] = module.open_source(root, interval_ms)
        if source is not None:
            return source
    raise SensorError(
        "this machine has no power sensor that can be read: no %sINA3221 or other INA chip under "
        "/sys, no RAPL under /sys/class/powercap" % ("" if files_only else "tegrastats, no ")
    )
