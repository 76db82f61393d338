"""Build an engine on this machine, and say in a JSON beside it what it is."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import time
from typing import Any, Dict, Optional

from . import board, cuda, engines, plan
from .protocol import SCHEMA_VERSION, AgentError, emit

# What an engine was asked for: keys of the request that the record repeats.
_ASKED = ("profiles", "workspace_mib", "optimization_level", "dla_core", "gpu_fallback")


def build(request: Dict[str, Any]) -> None:
    """Build the plan that a request asks for; write it, then its record.

    Request: "engine" ("tensorrt" or "trtexec"); "model" (ONNX); "plan" (the file to write). May be
    left out or None: "typing" ("auto", "strong", "weak"); "precision" ("fp32", "fp16", "int8": what
    a weakly typed engine may compute in); "profiles" (name of an input -> "min", "opt", "max", each
    a shape); "workspace_mib"; "optimization_level" (0 to 5); "timing_cache" (a folder for the
    engine "tensorrt", a file for "trtexec"); "dla_core"; "gpu_fallback"; "layers" (a file for what
    TensorRT's inspector says of the layers).

    Lines: "progress" (TensorRT 10 and later); "built".

    Raises:
        AgentError: the request or the model cannot be followed, or TensorRT fails.
    """
    name = request["engine"]
    engines.load_runtime(name)
    engine = importlib.import_module("." + name, engines.__name__)
    if not hasattr(engine, "build"):
        raise AgentError(
            "request", "the engine '%s' runs models as they are: nothing to build" % name
        )
    if os.path.exists(plan.sidecar(request["plan"])):
        os.unlink(plan.sidecar(request["plan"]))  # or it would stand beside another plan
    onnx_sha256 = plan.sha256_of(request["model"])
    start = time.perf_counter()
    told = engine.build(request)
    seconds = time.perf_counter() - start
    with open(request["plan"], "rb") as file:
        head = plan.head_of(file.read(64), request["plan"])
    record = {
        "engine": told["engine"],
        "tensorrt": ".".join(map(str, head.version[:3])),
        "plan_sha256": plan.sha256_of(request["plan"]),
        "plan_bytes": os.path.getsize(request["plan"]),
        "onnx_sha256": onnx_sha256,
        "typing": told.get("typing"),
        "flags": told.get("flags"),
        "timing_cache": told.get("timing_cache"),
        "seconds": seconds,
        "warnings": told["warnings"],
        "asked": {key: request.get(key) for key in _ASKED},
        "machine": board.machine(),
        "power_mode": power_mode(),
        "gpu": cuda.gpu(),
    }
    stored = {"schema_version": SCHEMA_VERSION, **record}
    text = json.dumps(stored, indent=2, sort_keys=True) + "\n"
    plan.write(plan.sidecar(request["plan"]), text.encode("utf-8"))
    emit("built", **record)


def power_mode() -> Optional[str]:
    """Return the name of a Jetson's power mode, such as "MAXN_SUPER"; None: no Jetson.

    An engine's kernels are chosen by timing them, so those of another mode may be chosen badly.
    """
    tool = shutil.which("nvpmodel") or "/usr/sbin/nvpmodel"
    try:
        said = subprocess.run(
            [tool, "-q"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
            encoding="utf-8",
            errors="replace",
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    for line in said.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == "NV Power Mode":
            return value.strip()
    return None
