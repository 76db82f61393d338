"""Say what this machine is and which engines it has. Works without numpy."""

from __future__ import annotations

import platform
from typing import Any, Dict, List, Optional

from . import engines, jetson, sensors
from .linux import text
from .telemetry import allowed_cores, cpu_locked

# Instruction sets that decide how fast float and INT8 kernels are.
_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
)
_INTERVAL_MS = 100  # of a source of power, which is closed at once
_ARM_FLAGS = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve")


def probe() -> Dict[str, Any]:
    """Return what the host wants to know before it sends work."""
    return {
        "machine": machine(),
        "architecture": platform.machine(),
        "flags": _flags(),
        "cores": len(allowed_cores()),
        "memory_mib": _memory_mib("MemTotal"),
        "free_mib": _memory_mib("MemAvailable"),
        "os": "%s %s" % (platform.system(), platform.release()),
        "python": platform.python_version(),
        "numpy": _numpy(),
        "engines": {name: engines.version(name) for name in engines.names()},
        "cpu_locked": cpu_locked(),
        "trtexec": jetson.trtexec(),
        "jetson": jetson.facts(),
        **power(),
    }


def power() -> Dict[str, Optional[str]]:
    """Return the source that would tell power, as "power", or why there is none, as "no_power"."""
    try:
        source = sensors.open_source(_INTERVAL_MS)
    except sensors.SensorError as error:
        return {"power": None, "no_power": str(error)}
    source.close()
    return {"power": source.name, "no_power": None}


def machine() -> str:
    """Return the board's or processor's model and its cores, for people."""
    board = text("/proc/device-tree/model")  # "NVIDIA Jetson Orin Nano ..."; PCs have none
    name = board or _cpuinfo("model name") or platform.machine()
    return "%s, %d cores, %s" % (name, len(allowed_cores()), platform.system())


def _flags() -> List[str]:
    there = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    return [flag for flag in _FLAGS + _ARM_FLAGS if flag in there]


def _cpuinfo(key: str) -> Optional[str]:
    for line in (text("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _memory_mib(key: str) -> Optional[int]:
    for line in (text("/proc/meminfo") or "").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) // 1024
    return None


def _numpy() -> Optional[str]:
    try:
        import numpy as np
    except ImportError:
        return None
    return str(np.__version__)
