"""INA chips for single rails (INA219, 226, 230, 231, 237, 238, 260), as hwmon shows them.

Other chips under hwmon are left alone: a battery, a USB port or a graphics card is not the board.
"""

from __future__ import annotations

import glob
import os
from typing import Dict, List, Optional, Tuple

from ..linux import number, text
from .polling import Polled

_CHIPS = ("ina219", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260")
Rail = Tuple[str, str]  # its name, and the file of its microwatts


def open_source(root: str, interval_ms: int) -> Optional[Polled]:
    """Return the rails of all such chips; None: there is none."""
    rails = _rails(root)
    if not rails:
        return None
    return Polled("hwmon", "mW", interval_ms, lambda: _reading(rails))


def _rails(root: str) -> List[Rail]:
    """Return each chip's rail, called by its label, else by the chip and its place."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/class/hwmon/hwmon*"))):
        chip, file = text(folder, "name"), os.path.join(folder, "power1_input")
        if chip in _CHIPS and os.path.exists(file):
            label = text(folder, "power1_label") or text(folder, "label")
            found.append((label or "%s %s" % (chip, os.path.basename(folder)), file))
    return found


def _reading(rails: List[Rail]) -> Optional[Dict[str, float]]:
    """Return each rail's power in mW; None: a chip did not answer."""
    found = {}
    for name, file in rails:
        microwatts = number(file)
        if microwatts is None:
            return None
        found[name] = microwatts / 1000
    return found
