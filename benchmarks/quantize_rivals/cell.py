"""Quantise one file in this process and tell what it took. Runs in any tool's environment.

    PYTHON with_TOOL.py FLOAT.onnx IMAGES.npy OUT.onnx SETTING

SETTING is a JSON object. Prints one line of JSON. Time starts when all is imported and the images,
float32 [N, C, H, W], are read; memory is the process's peak resident set, libraries included.
"""

import importlib.metadata
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Quantise = Callable[[Path, NDArray[np.float32], Path, dict[str, Any]], None]


def main(quantise: Quantise, *packages: str) -> None:
    source, images, out, setting = sys.argv[1:]
    images_nchw = np.load(images)
    started = time.perf_counter()
    quantise(Path(source), images_nchw, Path(out), json.loads(setting))
    found = {
        "seconds": time.perf_counter() - started,
        "peak_mib": peak_mib(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
    print(json.dumps(found))


def peak_mib() -> float:
    """Return this process's own peak: ``ru_maxrss`` would count the one that started it, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "this needs Linux"
    return int(found[1]) / 1024
