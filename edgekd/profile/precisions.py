"""In which precision each layer computes, from what its engine says of the layers that ran.

A wrong precision would be worse than none: where the types do not tell it for sure, it is unknown.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgekd.profile.layers import Layer, read_engine

_BYTES = {"int8", "uint8"}
_INDICES = {"int32", "int64", "bool"}  # sizes, axes, masks and the biases of integer kernels
_CASTS = {"QuantizeLinear", "DequantizeLinear", "Cast"}
# ONNX Runtime's quantised operators: beside 8-bit values they read float scales.
_QUANTISED = re.compile(r"^QLinear|^Q[A-Z]|Quantize|Integer|NBits")


def read(path: Path) -> dict[str, str]:
    """Return the precision of each layer by its name.

    Args:
        path: what TensorRT's inspector wrote, or the agent in its form.

    Returns:
        "int8", "fp32" and so on, "fp32 to int8" of a conversion; "": not known.

    Raises:
        UsageError: it is not such a file.
    """
    if not json.loads(path.read_bytes()).get("Layers"):
        return {}  # an engine that was built without a word about its layers
    found: dict[str, str] = {}
    for layer in read_engine(path).layers:
        precision = of(layer)
        found[layer.name] = precision if found.get(layer.name, precision) == precision else ""
    return found


def of(layer: Layer) -> str:
    """Return the precision of a layer; "": not known."""
    types = list(_types(tensor.dtype for tensor in layer.inputs))
    first = types[0] if types else ""
    if layer.kind in _CASTS or layer.role in {"reformat", "quantise"}:
        return _conversion(first, next(_types(tensor.dtype for tensor in layer.outputs), ""))
    if layer.integer_kernel:
        return "int8"
    if _QUANTISED.search(layer.kind):
        return "int8" if first == "int8" else ""
    if layer.weights:
        weights = next(_types([layer.weights]))
        # INT8 weights beside float values may be all that is quantised.
        return weights if weights != "int8" or first == "int8" else ""
    if not _CASTS.isdisjoint(layer.operators):
        return ""  # types change somewhere inside
    told = {one for one in types if one not in _INDICES} or set(types[:1])
    return told.pop() if len(told) == 1 else ""


def _conversion(first: str, last: str) -> str:
    if not first or not last:
        return ""
    return first if first == last else f"{first} to {last}"


def _types(found: Iterable[str]) -> Iterator[str]:
    """Return element types, one name for both kinds of byte."""
    return ("int8" if one in _BYTES else one for one in found)
