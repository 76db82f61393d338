"""Record temperatures, clocks and power over time while models run, as files under /sys tell them.

A thread of the process that waits for the models, which are others; no program is started.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import jetson, sensors
from .protocol import emit
from .sensors.polling import Polled
from .telemetry import core_mhz, throttling

INTERVAL_MS = 500
_PATIENCE_S = 30.0  # for a reading that has begun


class Recorder:
    """Reads sensors from its making until it is closed, at both ends and in between.

    Args:
        power: read power, too, from files; else there is another who does.
        interval_ms: between two readings, > 0.
        root: of the file system; another one holds what was recorded elsewhere.
    """

    def __init__(self, *, power: bool, interval_ms: int = INTERVAL_MS, root: str = "/") -> None:
        self._root = root
        self._turns: List[Tuple[Optional[int], int, int]] = []
        self._readings: List[Dict[str, Any]] = []
        self._power: Optional[sensors.Source] = None
        self._no_power: Optional[str] = None
        if power:
            try:
                self._power = sensors.open_source(1, root, files_only=True)
            except sensors.SensorError as error:
                self._no_power = str(error)
        self.take()
        self._clock = Polled("recorder", "", interval_ms, dict)
        self._clock.read()  # the first is due at once
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the last reading and end the thread."""
        self._clock.close()
        self._thread.join(_PATIENCE_S)
        if not self._thread.is_alive():
            self.take()

    @contextlib.contextmanager
    def turn(self, subject: Optional[int]) -> Iterator[None]:
        """Note when a model runs, or (None) when nothing does."""
        start_ns = time.monotonic_ns()
        yield
        self._turns.append((subject, start_ns, time.monotonic_ns()))

    def tell(self) -> None:
        """Write the line "series": all readings, and the turns among them."""
        readings = list(self._readings)
        zones = sorted({zone for each in readings for zone in each["zones"]})
        rails = sorted({rail for each in readings for rail in each["rails"]})
        emit(
            "series",
            times_ns=[each["time_ns"] for each in readings],
            temperatures_c={zone: [each["zones"].get(zone) for each in readings] for zone in zones},
            gpu_mhz=[each["gpu_mhz"] for each in readings],
            cpu_mhz=[each["cpu_mhz"] for each in readings],
            throttling=[each["throttling"] for each in readings],
            turns=self._turns,
            source=self._power and self._power.name,
            no_power=self._no_power,
            unit=self._power and self._power.unit,
            rails={rail: [each["rails"].get(rail) for each in readings] for rail in rails},
        )

    def _listen(self) -> None:
        for _ in iter(self._clock.read, None):
            self.take()

    def take(self) -> None:
        """Take a reading now."""
        reading: Dict[str, Any] = {
            "time_ns": time.monotonic_ns(),
            "zones": jetson.temperatures(self._root),
            "gpu_mhz": (jetson.gpu(self._root) or {}).get("now_mhz"),
            "cpu_mhz": max(core_mhz(self._root), default=None),
            "throttling": throttling(self._root),
            "rails": (self._power.read() if self._power is not None else None) or {},
        }
        self._readings.append(reading)
