"""Write an engine's layers and times for NVIDIA's TensorRT Engine Explorer (trex).

trex 0.1 reads the inspector's schema up to TensorRT 10: "Bindings" is a list of names, and each
tensor has "Format/Datatype". Names must be unique, and each record of the profile has four or five
keys. Source: NVIDIA/TensorRT, tools/experimental/trt-engine-explorer.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from edgekd.agent.layers import LayerTime, Profile
from edgekd.core.errors import UsageError
from edgekd.core.files import write_text
from edgekd.profile.layers import read_engine, read_profile


def write(layers: Path, profile: Path, folder: Path) -> tuple[Path, Path]:
    """Write ``engine.graph.json`` and ``engine.profile.json`` into ``folder``; return their paths.

    Raises:
        UsageError: a file cannot be read, or the layers are names only.
    """
    engine, measured = read_engine(layers), read_profile(profile)
    if not engine.detailed:
        raise UsageError(
            f"'{layers}' holds names only, and trex needs more: build the engine anew with "
            "--profilingVerbosity=detailed"
        )
    names = _unique([layer.name for layer in engine.layers])
    graph = {
        "Layers": [
            {**_old(entry), "Name": name}
            for entry, name in zip(engine.raw["Layers"], names, strict=True)
        ],
        "Bindings": _bindings(engine.raw),
    }
    paths = folder / "engine.graph.json", folder / "engine.profile.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(paths[0], json.dumps(graph, indent=1))
    write_text(paths[1], json.dumps(_records(measured), indent=1))
    return paths


def _unique(names: list[str]) -> list[str]:
    """Number names that come again, as trex does: "conv", "conv_2"."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique


def _old(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer in the schema up to TensorRT 10."""
    ends = {
        key: [_tensor(one) for one in _objects(layer.get(key))] for key in ("Inputs", "Outputs")
    }
    return {"ParameterType": layer.get("LayerType", ""), **layer, **ends}


def _tensor(entry: dict[str, Any]) -> dict[str, Any]:
    if "Format/Datatype" in entry:
        return entry
    kind = entry.get("Datatype") or entry.get("DataType") or ""
    rest = {key: value for key, value in entry.items() if key not in {"Datatype", "DataType"}}
    return {**rest, "Format/Datatype": f"{entry.get('Format', '')} {kind}".strip()}


def _bindings(raw: dict[str, Any]) -> list[str]:
    if isinstance(raw.get("Bindings"), list):
        return [str(name) for name in raw["Bindings"]]
    return [str(entry["Name"]) for entry in _objects(raw.get("I/O Tensors")) if "Name" in entry]


def _objects(found: Any) -> list[dict[str, Any]]:
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _records(profile: Profile) -> list[dict[str, Any]]:
    total = sum(layer.mean_ms for layer in profile.layers) or 1.0
    names = _unique([layer.name for layer in profile.layers])
    records = [
        _record(layer, name, profile.inferences, 100 * layer.mean_ms / total)
        for layer, name in zip(profile.layers, names, strict=True)
    ]
    return [{"count": profile.inferences}, *records]


def _record(layer: LayerTime, name: str, inferences: int, percent: float) -> dict[str, Any]:
    record = {"name": name, "timeMs": layer.mean_ms * inferences, "averageMs": layer.mean_ms}
    if layer.median_ms is not None:
        record["medianMs"] = layer.median_ms
    return {**record, "percentage": percent}
