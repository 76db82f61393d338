"""Rails of a Jetson's INA3221 chips, as the kernel shows them under /sys.

JetPack 5 and later have hwmon's files, JetPack 4 those of the industrial I/O subsystem.
"""

from __future__ import annotations

import glob
import os
from typing import Dict, List, Optional, Tuple

from ..linux import number, text
from .polling import Polled

_CHANNELS = (1, 2, 3)  # in7 of hwmon is the sum of the shunts' voltages
_UNUSED = ("", "NC")
Rail = Tuple[str, str, str]  # its name; the files of its millivolts and of its milliamperes


def open_source(root: str, interval_ms: int) -> Optional[Polled]:
    """Return the rails of all chips; None: there is no chip with a rail."""
    rails = _hwmon(root) + _iio(root)
    if not rails:
        return None
    return Polled("ina3221", "mW", interval_ms, lambda: _reading(rails))


def _hwmon(root: str) -> List[Rail]:
    found = []
    for folder in _folders(root, "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"):
        for channel in _CHANNELS:
            name = text(folder, "in%d_label" % channel) or ""
            files = ("in%d_input" % channel, "curr%d_input" % channel)
            found.append((name, os.path.join(folder, files[0]), os.path.join(folder, files[1])))
    return [rail for rail in found if rail[0] not in _UNUSED]


def _iio(root: str) -> List[Rail]:
    found = []
    for folder in _folders(root, "sys/bus/i2c/drivers/ina3221x/*/iio:device*"):
        for channel in range(len(_CHANNELS)):
            name = text(folder, "rail_name_%d" % channel) or ""
            files = ("in_voltage%d_input" % channel, "in_current%d_input" % channel)
            found.append((name, os.path.join(folder, files[0]), os.path.join(folder, files[1])))
    return [rail for rail in found if rail[0] not in _UNUSED]


def _folders(root: str, pattern: str) -> List[str]:
    return sorted(glob.glob(os.path.join(root, pattern)))


def _reading(rails: List[Rail]) -> Optional[Dict[str, float]]:
    """Return each rail's power in mW; None: a chip did not answer."""
    found = {}
    for name, volts, amperes in rails:
        millivolts, milliamperes = number(volts), number(amperes)
        if millivolts is None or milliamperes is None:
            return None
        found[name] = millivolts * milliamperes / 1000
    return found
