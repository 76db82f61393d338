"""Read what disturbs a measurement: other programs, heat, clocks. Missing sensors are None.

Linux only (/proc, /sys); elsewhere every value is None. Nothing is changed.

Sources: proc(5); NVIDIA Jetson Linux Developer Guide, Platform Power and Performance (counters of
over-current events; cooling devices that end in "-throttle-alert").
"""

from __future__ import annotations

import glob
import os
from typing import Any, Dict, List, Optional, Sequence

from . import jetson
from .linux import text

_CPU = "sys/devices/system/cpu/cpu%d/"
# user nice system idle iowait irq softirq steal (proc(5)); guest time is part of user already.
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)
_ALL_COLUMNS = range(8)


def snapshot(pids: Sequence[int]) -> Dict[str, Any]:
    """Return counters and sensors of this moment; two snapshots give shares.

    Args:
        pids: the measuring processes; their time is "own", all other busy time is foreign.

    Returns:
        "busy_ticks", "all_ticks" (of the cores that this process may use), "own_ticks",
        "cpu_mhz", "gpu_mhz", "temperature_c" (the hottest zone), "throttled" (events since boot),
        "throttling" (parts whose clock is held down now), "swapped_pages" (in and out since boot).
    """
    cores = allowed_cores()
    ticks = _processor_ticks(cores)
    own = [_process_ticks(pid) for pid in pids]
    return {
        "busy_ticks": None if ticks is None else ticks[0],
        "all_ticks": None if ticks is None else ticks[1],
        "own_ticks": None if None in own else sum(value or 0 for value in own),
        "cpu_mhz": min(core_mhz(), default=None),
        "gpu_mhz": (jetson.gpu() or {}).get("now_mhz"),
        "temperature_c": max(jetson.temperatures().values(), default=None),
        "throttled": _throttled(cores),
        "throttling": throttling(),
        "swapped_pages": _swapped_pages(),
    }


def conditions() -> Dict[str, Any]:
    """Return what stays as it is while nobody changes it.

    Returns:
        "power_mode" (a Jetson's), "gpu" (its clock, see ``jetson.gpu``), "gpu_load" (others', as
        long as nothing of ours runs; see ``jetson.gpu_load``), "cpu_locked",
        "available_mib" (of memory).
    """
    return {
        "power_mode": jetson.power_mode(),
        "gpu": jetson.gpu(),
        "gpu_load": jetson.gpu_load(),
        "cpu_locked": cpu_locked(),
        "available_mib": available_mib(),
    }


def allowed_cores() -> List[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def memory_mib(key: str) -> Optional[float]:
    """Return this process's ``VmRSS`` (now), ``VmHWM`` (its peak) or ``RssAnon`` (no files) in MiB.

    Not ``getrusage``: its peak begins with that of the process that started this one.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    return None


def core_mhz(root: str = "/") -> List[float]:
    """Return the clock of each core that this process may use; none: the device does not tell."""
    folders = [os.path.join(root, _CPU % core) for core in allowed_cores()]
    clocks = [_number(folder + "cpufreq/scaling_cur_freq") for folder in folders]
    return [clock / 1000 for clock in clocks if clock is not None]


def throttling(root: str = "/") -> List[str]:
    """Return the parts whose clock is held down now."""
    found = []
    for path in sorted(glob.glob(os.path.join(root, "sys/class/thermal/cooling_device*/type"))):
        name = "".join(_lines(path)[:1])
        if name.endswith("-throttle-alert") and _number(path[: -len("type")] + "cur_state"):
            found.append(name[: -len("-throttle-alert")])
    return found


def _processor_ticks(cores: List[int]) -> Optional[List[int]]:
    wanted = {"cpu%d" % core for core in cores}
    busy = everything = 0
    found = False
    for line in _lines("/proc/stat"):
        name, *values = line.split()
        if name in wanted and len(values) >= len(_ALL_COLUMNS):
            found = True
            busy += sum(int(values[column]) for column in _BUSY_COLUMNS)
            everything += sum(int(values[column]) for column in _ALL_COLUMNS)
    return [busy, everything] if found else None


def _process_ticks(pid: int) -> Optional[int]:
    lines = _lines("/proc/%d/stat" % pid)
    if not lines:
        return None
    # The second field is the program's name in brackets and may hold spaces: count behind it.
    fields = lines[0].rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime + stime


def _throttled(cores: List[int]) -> Optional[int]:
    paths = ["/" + _CPU % core + "thermal_throttle/core_throttle_count" for core in cores]
    paths += glob.glob("/sys/class/hwmon/hwmon*/oc*_event_cnt")
    known = [int(count) for count in map(_number, paths) if count is not None]
    return sum(known) if known else None


def _swapped_pages() -> Optional[int]:
    counts = [line.split() for line in _lines("/proc/vmstat")]
    known = [int(words[1]) for words in counts if words[0] in ("pswpin", "pswpout")]
    return sum(known) if known else None


def cpu_locked() -> Optional[bool]:
    """Tell whether the least and the highest clock of every core are one; None: it is not said."""
    bounds = [
        [_number("/" + _CPU % core + "cpufreq/scaling_%s_freq" % end) for end in ("min", "max")]
        for core in allowed_cores()
    ]
    if any(None in each for each in bounds):
        return None
    return all(least == most for least, most in bounds)


def available_mib() -> Optional[float]:
    """Return how much memory programs may still take, in MiB; what caches files counts as free."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return None


def _number(path: str) -> Optional[float]:
    lines = _lines(path)
    try:
        return float(lines[0]) if lines else None
    except ValueError:
        return None


def _lines(path: str) -> List[str]:
    return (text(path) or "").splitlines()
