"""A tegrastats for machines that are no Jetson: an Orin Nano's recorded line, again and again.

Strict about its options. VDD_IN is not the recorded one but follows the load: 4 W, and up to 6 W
more for the share of a core that the other children of whoever started it use. So idle and busy
differ as on a board, and a test knows the bounds. STANDIN_TEGRASTATS_FAULT: "hung" prints nothing,
"silent" stops printing after a second, "bare" has no rails.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from pathlib import Path

LINES = (Path(__file__).parents[2] / "data" / "jetson" / "tegrastats.txt").read_text()
LINE = next(line for line in LINES.splitlines() if "VDD_CPU_GPU_CV" in line)
FAULT = os.environ.get("STANDIN_TEGRASTATS_FAULT", "")
IDLE_MW, BUSY_MW = 4000, 6000


def siblings() -> list[Path]:
    """Return the processes that were started by whoever started this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:  # it has just ended
            continue
        if int(parent) == os.getppid() and int(folder.name) != os.getpid():
            found.append(folder)
    return found


def busy_ns(processes: list[Path]) -> int:
    """Return how long the first threads have run of those that still live."""
    total = 0
    for folder in processes:
        with contextlib.suppress(OSError):
            total += int((folder / "schedstat").read_text().split()[0])
    return total


def main() -> int:
    """Print until somebody ends it."""
    if len(sys.argv) != 3 or sys.argv[1] != "--interval" or not sys.argv[2].isdigit():
        sys.stderr.write("tegrastats: unknown options\n")
        return 2
    interval_s = int(sys.argv[2]) / 1000
    start = last = time.monotonic()
    workers = siblings()
    used_ns = busy_ns(workers)
    while True:
        time.sleep(3600 if FAULT == "hung" else interval_s)
        now, now_ns = time.monotonic(), busy_ns(workers)
        share = min(1.0, max(0.0, (now_ns - used_ns) / 1e9 / (now - last)))
        last, used_ns = now, now_ns
        if FAULT == "silent" and now - start > 1:
            time.sleep(3600)
        line = re.sub(r"VDD_IN \S+", f"VDD_IN {IDLE_MW + BUSY_MW * share:.0f}mW/4000mW", LINE)
        sys.stdout.write((line.partition(" VDD_")[0] if FAULT == "bare" else line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
