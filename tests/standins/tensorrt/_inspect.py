"""What the engine's inspector tells, in the schemas of 8.x to 10.x and of 11.x."""

from typing import Any

from ._callbacks import ENUMS
from ._facts import MAJOR
from ._onnx import DEQUANTISE, QUANTISE

_FORMATS = {1: "Float", 10: "Half"}  # ONNX's element types


def layer_names(model: Any) -> list[str]:
    """Return the layers: one a node but Q and DQ. Nothing is fused here."""
    return [_name(node) for node in _nodes(model)]


def _nodes(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.op_type not in {QUANTISE, DEQUANTISE}]


def _name(node: Any) -> str:
    return str(node.name or node.output[0])


def layers(model: Any, verbosity: Any) -> list[Any]:
    kinds = ENUMS["ProfilingVerbosity"]
    if verbosity == kinds.NONE:
        return []
    if verbosity == kinds.LAYER_NAMES_ONLY:
        return list(layer_names(model))
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    known = {one.name: one.type.tensor_type for one in values}
    from_int8 = {n.output[0] for n in model.graph.node if n.op_type == DEQUANTISE}
    return [
        {
            "Name": _name(node),
            "LayerType": node.op_type,
            "Inputs": [_tensor(one, known, from_int8) for one in node.input if one in known],
            "Outputs": [_tensor(one, known, set()) for one in node.output if one in known],
            "TacticName": f"standin_{node.op_type.lower()}",
            "StreamId": 0,
            "Metadata": f"[ONNX Layer: {_name(node)}]",
        }
        for node in _nodes(model)
    ]


def _tensor(name: str, known: dict[str, Any], from_int8: set[str]) -> dict[str, Any]:
    kind = "Int8" if name in from_int8 else _FORMATS.get(known[name].elem_type, "Other")
    sizes = [one.dim_value or -1 for one in known[name].shape.dim]
    where = {"Name": name, "Location": "Device", "Dimensions": sizes}
    if MAJOR < 11:
        return where | {"Format/Datatype": f"Row major linear {kind}"}
    return where | {"Format": "Row major linear", "Datatype": kind}


def tensors(engine: Any) -> list[dict[str, Any]]:
    """Return 11's list of inputs and outputs."""
    found = []
    for name, (mode, kind, shape) in engine._io.items():
        shapes = [profile.get(name) or [shape] * 3 for profile in engine._settled["profiles"]]
        words = ("MinShape", "OptShape", "MaxShape")
        ranges = [dict(zip(words, map(list, one), strict=True)) for one in shapes]
        found.append(
            {
                "Name": name,
                "IOMode": mode.name,
                "DataType": kind.name,
                "Dimensions": list(shape),
                "Location": "Device",
                "IsShapeInferenceIO": False,
                "ProfileInfo": [{**one, "Format": "Row major linear"} for one in ranges],
            }
        )
    return found
