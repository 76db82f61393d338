"""Time the layers of an engine, in a run of their own: it makes everything slower."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from . import engines, plan
from .protocol import AgentError, emit
from .timing import median


def measure(request: Dict[str, Any]) -> None:
    """Write how long each layer takes, in the form of trtexec's ``--exportProfile``.

    Request: "engine"; "model"; "images" (a .npy of float32 [B, C, H, W]); "threads"; "runs" (> 0);
    "profile" (the JSON file to write); "layers" (another, for what the engine says of its layers,
    in the form of ``--exportLayerInfo``).

    Lines: "opened".

    Raises:
        AgentError: the model cannot be used, or its engine does not time layers.
    """
    import numpy as np

    images_nchw = np.load(request["images"], allow_pickle=False)
    model: Any = engines.open_model(request["engine"], request["model"], request["threads"])
    if not hasattr(model, "layer_times"):
        raise AgentError("request", "the engine '%s' does not time layers" % request["engine"])
    emit("opened", engine=model.engine, load_ms=None, cold_ms=None)
    times, layers = model.layer_times(images_nchw, request["runs"])
    for key, found in (("profile", profile(times)), ("layers", layers)):
        plan.write(request[key], json.dumps(found, indent=1).encode("utf-8"))
    model.close()


def profile(runs: List[Dict[str, float]]) -> List[Dict[str, Any]]:
    """Return what trtexec writes of the ms of each layer in each of several inferences."""
    names = list(dict.fromkeys(name for run in runs for name in run))
    times = {name: [run.get(name, 0.0) for run in runs] for name in names}
    whole_ms = sum(sum(each) for each in times.values()) or 1.0
    rows = [
        {
            "name": name,
            "timeMs": sum(each),
            "averageMs": sum(each) / len(each),
            "medianMs": median(each),
            "percentage": 100 * sum(each) / whole_ms,
        }
        for name, each in times.items()
    ]
    return [{"count": len(runs)}, *rows]
