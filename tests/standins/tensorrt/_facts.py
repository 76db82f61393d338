"""Which TensorRT this is: the version named by EDGEKD_STANDIN_TRT, and what its bindings have."""

import json
import os
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "facts"
VERSIONS = tuple(sorted(file.stem.removeprefix("trt_api_") for file in _FOLDER.glob("trt_api_*")))


def _chosen() -> str:
    version = os.environ.get("EDGEKD_STANDIN_TRT", "")
    if version not in VERSIONS:
        message = f"EDGEKD_STANDIN_TRT is '{version}', but must be one of: {', '.join(VERSIONS)}"
        raise ImportError(message)
    return version


FACTS: dict[str, Any] = json.loads((_FOLDER / f"trt_api_{_chosen()}.json").read_text())
VERSION: str = FACTS["version"]
NUMBERS = tuple(int(part) for part in VERSION.split(".")[:4] if part.isdigit())
MAJOR = NUMBERS[0]


# The machine that is stood in for; tests set these variables to have another one.
def gpu() -> str:
    """Name of the GPU: engines and timing caches are tied to it."""
    return os.environ.get("EDGEKD_STANDIN_GPU", "stand-in")


def dla_cores() -> int:
    return int(os.environ.get("EDGEKD_STANDIN_DLA_CORES", "0"))


def is_spoilt() -> bool:
    """Say whether engines answer wrongly, as after a kernel with a fault."""
    return os.environ.get("EDGEKD_STANDIN_SPOILT") == "1"


def device_bytes() -> int:
    """Memory of the device: an engine that needs more gets no execution context."""
    return int(os.environ.get("EDGEKD_STANDIN_DEVICE_BYTES", str(8 << 30)))
