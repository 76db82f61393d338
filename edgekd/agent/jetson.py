"""Ask a Jetson what it is: board, JetPack, power mode, clocks. Nothing is changed or guessed.

Sources: the device tree, /etc/nv_tegra_release, dpkg, ``nvpmodel -q`` and sysfs, as any user may
read them; what cannot be read is None.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import time
from statistics import mean
from typing import Any, Dict, Iterator, List, Optional

from .linux import number, text

_PATIENCE_S = 10.0
_RELEASE = re.compile(r"^#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")
_TENSORRT = ("python3-libnvinfer", "libnvinfer-bin", "libnvinfer10", "libnvinfer8")
_GPUS = ("*.gpu", "*.ga10b", "*.gv11b", "*.gp10b", "gpu-gpc-0")  # devfreq, by generation
_LOADS = ("sys/devices/platform/gpu.0", "sys/devices/gpu.0")  # where devfreq does not lead to it
_LOOKS, _LOOK_S = 10, 0.1  # the driver tells of a fraction of a second
_OFF_C = -250.0  # the sensor of a part that is switched off says about -256
_FAKE = "PMIC"  # its zone says 100 C, always (NVIDIA's forum, "thermal zone4 reports 100")


def facts(root: str = "/") -> Optional[Dict[str, Any]]:
    """Return what the board says; None: it is no Jetson.

    Args:
        root: of the file system; another one holds what was recorded elsewhere.
    """
    model = text(root, "proc/device-tree/model")
    compatible = (text(root, "proc/device-tree/compatible") or "").split("\0")
    chips = [name for name in compatible if name.startswith("nvidia,tegra")]
    if model is None or not chips:
        return None
    return {
        "model": model,
        "compatible": [name for name in compatible if name],
        "l4t": _l4t(root),
        "tensorrt": _first(_package(root, name) for name in _TENSORRT),
        "cuda": _cuda(root),
        "power_mode": power_mode(root),
        "gpu": gpu(root),
        "gpu_load": gpu_load(root),
        "temperatures_c": temperatures(root),
    }


def trtexec(root: str = "/") -> Optional[str]:
    """Return the path of trtexec, which JetPack does not put on the PATH."""
    return shutil.which("trtexec") or shutil.which(
        "trtexec", path=os.path.join(root, "usr/src/tensorrt/bin")
    )


def _l4t(root: str) -> Optional[str]:
    """Return the release of Linux for Tegra; containers have only the package, if anything."""
    match = _RELEASE.match(text(root, "etc/nv_tegra_release") or "")
    return "%s.%s" % match.groups() if match else _package(root, "nvidia-l4t-core")


def _package(root: str, name: str) -> Optional[str]:
    """Return a Debian package's upstream version: "10.3.0.30-1+cuda12.5" is 10.3.0.30."""
    said = _run(root, "usr/bin/dpkg-query", "--showformat=${Version}", "--show", name)
    match = re.match(r"(?:\d+:)?(\d[\d.]*)", said or "")
    return match.group(1) if match else None


def _cuda(root: str) -> Optional[str]:
    try:
        version = json.loads(text(root, "usr/local/cuda/version.json") or "")["cuda"]["version"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(version)


def power_mode(root: str = "/") -> Optional[str]:
    """Return the mode's name: numbers differ between boards and releases."""
    said = _run(root, "usr/sbin/nvpmodel", "-q") or ""
    match = re.search(r"^NV Power Mode: *(\w+)\s*$", said, re.MULTILINE)
    return match.group(1) if match else None


def gpu(root: str = "/") -> Optional[Dict[str, Any]]:
    """Return the GPU's clock now and its bounds in MHz; they are equal where it is locked."""
    for path in _gpus(root):
        now, least, most = (number(path, name) for name in ("cur_freq", "min_freq", "max_freq"))
        if now is not None and least is not None and most is not None:
            return {
                "now_mhz": now / 1e6,
                "min_mhz": least / 1e6,
                "max_mhz": most / 1e6,
                "locked": least == most,
            }
    return None


def gpu_load(root: str = "/") -> Optional[float]:
    """Watch the GPU for a second and return for which share of it it was busy, 0 to 1.

    None, and at once: the board does not tell. While nothing of ours runs, it is others' work.
    """
    folders = [os.path.join(path, "device") for path in _gpus(root)]
    folders += [os.path.join(root, path) for path in _LOADS]
    folder = next((each for each in folders if os.path.exists(os.path.join(each, "load"))), None)
    if folder is None:
        return None
    looks = []
    for _ in range(1 + _LOOKS):
        looks.append(share(text(folder, "load")))
        time.sleep(_LOOK_S)
    known = [look for look in looks[1:] if look is not None]  # the first may tell of our own work
    return mean(known) if known else None


def share(told: Optional[str]) -> Optional[float]:
    """Read the GPU's load as sysfs has it, in thousandths; None: that is something else.

    >>> share("372")
    0.372
    """
    match = re.match(r"\s*([0-9]{1,4})\s*\Z", told or "")
    load = int(match.group(1)) / 1000 if match else 2.0
    return load if load <= 1 else None


def _gpus(root: str) -> Iterator[str]:
    """Yield the folders that devfreq has for GPUs."""
    for pattern in _GPUS:
        yield from sorted(glob.glob(os.path.join(root, "sys/class/devfreq", pattern)))


def temperatures(root: str = "/") -> Dict[str, float]:
    """Return the temperature of each thermal zone that has one, in degrees Celsius."""
    found = {}
    for zone in sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))):
        name, value = text(zone, "type"), number(zone, "temp")
        if name is None or value is None or name.startswith(_FAKE):
            continue
        if value / 1000 > _OFF_C:
            found[name] = value / 1000
    return found


def _first(values: Any) -> Optional[str]:
    return next((value for value in values if value is not None), None)


def _run(root: str, *words: str) -> Optional[str]:
    """Return what a program prints; None: it is missing, fails or hangs."""
    command: List[str] = [os.path.join(root, words[0]), *words[1:]]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=True,
            env=dict(os.environ, LC_ALL="C"),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
