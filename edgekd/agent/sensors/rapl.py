"""Energy counters of Intel's and AMD's processors (RAPL), as powercap shows them.

They count whole packages: cores, caches and an integrated GPU; on servers not the memory.
Source: Documentation/power/powercap/powercap.rst of the Linux kernel.
"""

from __future__ import annotations

import glob
import os
from typing import Dict, List, Optional

from ..linux import number, text
from . import SensorError
from .polling import Polled


def open_source(root: str, interval_ms: int) -> Optional[Polled]:
    """Return the counters of all packages; None: this processor has none.

    Raises:
        SensorError: they are there, but this user may not read them.
    """
    zones = [
        zone
        for zone in sorted(glob.glob(os.path.join(root, "sys/class/powercap/intel-rapl:*")))
        if (text(zone, "name") or "").startswith("package")
    ]
    if not zones:
        return None
    closed = [zone for zone in zones if number(zone, "energy_uj") is None]
    if closed:
        raise SensorError(
            "'%s' cannot be read: kernels since 5.10 let only root do so; run as root, or let "
            "this user read it" % os.path.join(closed[0], "energy_uj")
        )
    return Polled("rapl", "uJ", interval_ms, Counters(zones).take)


class Counters:
    """What packages have used since the first reading, in microjoules.

    Args:
        zones: their folders.
    """

    def __init__(self, zones: List[str]) -> None:
        self._zones = zones
        self._last: Dict[str, int] = {}
        self._used: Dict[str, float] = {}

    def take(self) -> Optional[Dict[str, float]]:
        """Return package -> microjoules; None: a counter did not answer."""
        for zone in self._zones:
            now, size = number(zone, "energy_uj"), number(zone, "max_energy_range_uj")
            name = text(zone, "name")
            if now is None or size is None or name is None:
                return None
            gone = now - self._last.get(name, now)
            # It begins anew behind its largest value, at 100 W after some 40 minutes.
            self._used[name] = self._used.get(name, 0.0) + (gone if gone >= 0 else gone + size)
            self._last[name] = now
        return dict(self._used)
