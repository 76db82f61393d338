"""Build an engine on this machine, and say in a JSON beside it what it is."""

from __future__ import annotations

import importlib
import json
import os
import time
from typing import Any, Dict

from . import board, cuda, engines, jetson, plan
from .protocol import SCHEMA_VERSION, AgentError, emit

# What an engine was asked for: keys of the request that the record repeats.
_ASKED = (
    *("profiles", "precision", "workspace_mib", "optimization_level"),
    *("dla_core", "gpu_fallback"),
)


def build(request: Dict[str, Any]) -> None:
    """Build the plan that a request asks for; write it, then its record.

    Request: "engine" ("tensorrt" or "trtexec"); "model" (ONNX); "plan" (the file to write). May be
    left out or None: "typing" ("auto", "strong", "weak"); "precision" ("fp32", "fp16", "int8": what
    a weakly typed engine may compute in); "profiles" (name of an input -> "min", "opt", "max", each
    a shape); "workspace_mib"; "optimization_level" (0 to 5); "timing_cache" (a folder);
    "dla_core"; "gpu_fallback"; "layers" (a file for what TensorRT's inspector says of the layers).

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
    told_by_board = jetson.facts() or {}
    record = {
        "schema_version": SCHEMA_VERSION,
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
        "l4t": told_by_board.get("l4t"),
        "power_mode": told_by_board.get("power_mode"),
        "gpu": cuda.gpu(),
    }
    text = json.dumps(record, indent=2) + "\n"
    plan.write(plan.sidecar(request["plan"]), text.encode("utf-8"))
    emit("built", record=record)
