"""Read the small files in which Linux tells of the machine, under /proc and /sys."""

from __future__ import annotations

import os
from typing import Optional


def text(*parts: str) -> Optional[str]:
    """Return a file's text; None: it is missing, not ours to read, or the sensor is asleep."""
    try:
        with open(os.path.join(*parts), encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:  # EAGAIN, EIO ... of chips that are switched off
        return None


def number(*parts: str) -> Optional[int]:
    """Return the whole number that a file holds; None: it has none."""
    try:
        return int(text(*parts) or "")
    except ValueError:
        return None
