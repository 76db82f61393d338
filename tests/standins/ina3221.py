"""An INA3221 for boards that have none: its driver's files under /sys/bus, as of JetPack 5.

Its one rail, VDD_IN at 5 V, follows the load.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.standins.tegrastats.tegrastats import BUSY_MW, IDLE_MW, busy_ns

_CHIP = "i2c/drivers/ina3221/1-0040/hwmon/hwmon0"
_RAIL_MV = 5000
_INTERVAL_S = 0.02
_LITTLE = 0.02  # of a core: a model on a busy machine has more, an idle agent less


def bus(folder: Path) -> Path:
    """Write what takes the place of /sys/bus, and return it."""
    chip = folder / "bus" / _CHIP
    chip.mkdir(parents=True)
    (chip / "in1_label").write_text("VDD_IN\n")
    (chip / "in1_input").write_text(f"{_RAIL_MV}\n")
    (chip / "in2_label").write_text("NC\n")
    _show(chip, IDLE_MW)
    return folder / "bus"


@contextmanager
def powered(bus: Path, processes: Callable[[], list[int]]) -> Iterator[None]:
    """Let the rail carry 4 W, and 6 W more while processes use more than a little of a core."""
    ended = threading.Event()

    def follow() -> None:
        last, used_ns = time.monotonic(), 0
        while not ended.wait(_INTERVAL_S):
            now_ns = 0
            for pid in processes():
                with suppress(OSError):  # it has just ended
                    now_ns += busy_ns([Path(f"/proc/{pid}")])
            now = time.monotonic()
            busy = now_ns - used_ns > _LITTLE * 1e9 * (now - last)
            last, used_ns = now, now_ns
            _show(bus / _CHIP, IDLE_MW + BUSY_MW * busy)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(chip: Path, power_mw: float) -> None:
    """Write the current so that whoever reads meanwhile sees a whole number."""
    new = chip / "new"
    new.write_text(f"{1000 * power_mw / _RAIL_MV:.0f}\n")
    new.replace(chip / "curr1_input")
