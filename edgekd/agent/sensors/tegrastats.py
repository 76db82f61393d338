"""Rails as NVIDIA's tegrastats prints them, JetPack 4 to 7: one line for each reading."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
from typing import Dict, Optional

from . import SensorError

# A rail is a name, then "now/mean": "VDD_IN 12479mW/12480mW", before JetPack 5 "GPU 1155/1155".
# "GPU@28C" is a temperature, "RAM 407/15823MB" memory; a cut line's "VDD_IN 124mW/12" is neither.
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]+) (-?\d{1,7})(mW|)/-?\d{1,7}\3(?!\S)")
_NO_RAILS = ("RAM", "SWAP", "IRAM", "NC")  # NC: not connected
_PR_SET_PDEATHSIG = 1  # prctl(2)


def open_source(root: str, interval_ms: int) -> Optional[Tegrastats]:
    """Start tegrastats; None: this machine has none.

    Raises:
        SensorError: it cannot be started.
    """
    program = shutil.which("tegrastats") if root == "/" else None
    program = program or shutil.which("tegrastats", path=os.path.join(root, "usr/bin"))
    return None if program is None else Tegrastats(program, interval_ms)


def rails_mw(line: str) -> Dict[str, float]:
    """Return the power of each rail at this moment in mW; {}: the line tells none, or is damaged.

    Tokens that are not known are passed over. A rail that idles may be negative, as on Thor.

    >>> rails_mw("RAM 5/7620MB (lfb 8x2MB) tj@53.9C VDD_IN 12479mW/12480mW NC 0mW/0mW")
    {'VDD_IN': 12479.0}
    """
    found: Dict[str, float] = {}
    for name, now, _ in _RAIL.findall(line):
        if name in found:  # two lines run into one another
            return {}
        if name not in _NO_RAILS:
            found[name] = float(now)
    return found


class Tegrastats:
    """A running tegrastats.

    Args:
        program: its path.
        interval_ms: between two lines.

    Raises:
        SensorError: it cannot be started.
    """

    name = "tegrastats"
    unit = "mW"

    def __init__(self, program: str, interval_ms: int) -> None:
        libc = ctypes.CDLL(None)
        try:
            self._process = subprocess.Popen(
                [program, "--interval", str(interval_ms)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # to be ended with all that it has started
                # One that hangs must not stay behind a killed agent, which has no threads yet.
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509
            )
        except OSError as error:
            raise SensorError("'%s' cannot be started: %s" % (program, error)) from error

    def read(self) -> Optional[Dict[str, float]]:
        """Wait for a line and return its rails; None: tegrastats has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):  # a last line that was cut is not believed
            return None
        return rails_mw(line.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the process, so that a waiting ``read`` returns."""
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
