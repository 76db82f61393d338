"""TensorRT's rules for explicit quantisation, as far as a graph shows them."""

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto

from edgekd.export.graph import WEIGHTED, Graph, attribute

PAIRED = ("QuantizeLinear", "DequantizeLinear")

# The smallest normal number of each type that a scale may have.
LEAST = {np.dtype(kind): np.finfo(kind).tiny for kind in (np.float32, np.float16)}


def faults(model: ModelProto) -> list[str]:
    """Return what TensorRT would refuse, or compute in float where INT8 was meant."""
    graph = Graph(model)
    found: list[str] = []
    for node in graph.nodes:
        if node.op_type in PAIRED:
            found += _numbers(graph, node)
        if node.op_type == "QuantizeLinear":
            found += _quantised(graph, node)
        if node.op_type in WEIGHTED:
            found += _weighted(graph, node)
        if node.op_type == "Add":
            found += _added(graph, node)
    read = {name for node in graph.nodes for name in node.input}
    found += [f"{c.name} is read by nobody" for c in model.graph.initializer if c.name not in read]
    return found


def _numbers(graph: Graph, node: NodeProto) -> Iterator[str]:
    scale, zero = graph.constant(node.input[1]), graph.constant(node.input[2])
    data = graph.constant(node.input[0])
    if scale is None or zero is None:
        yield f"{node.name}: scale or zero point is not constant"
        return
    if scale.dtype not in LEAST or not (
        np.isfinite(scale).all() and (scale >= LEAST[scale.dtype]).all()
    ):
        yield f"{node.name}: bad scale"
    if zero.dtype != np.int8 or zero.any() or zero.shape != scale.shape:
        yield f"{node.name}: bad zero point"
    if data is None and scale.ndim:
        yield f"{node.name}: an activation has scales for channels"
    if data is not None:
        axis = attribute(node, "axis")
        if data.dtype != np.int8 or np.abs(data.astype(int)).max() > 127:
            yield f"{node.name}: weights are not integers in [-127, 127]"
        if axis is None or scale.shape != (data.shape[axis],):
            yield f"{node.name}: no scale for each channel along an explicit axis"


def _quantised(graph: Graph, node: NodeProto) -> Iterator[str]:
    readers = graph.readers(node.output[0])
    if [reader.op_type for reader, _ in readers] != ["DequantizeLinear"]:
        yield f"{node.name}: Q is not followed by one DQ"
    elif [*readers[0][0].input[1:]] != [*node.input[1:]]:
        yield f"{node.name}: DQ has another scale than Q"
    others = [r for r, _ in graph.readers(node.input[0]) if r.op_type == "QuantizeLinear"]
    if len(others) > 1:
        yield f"{node.name}: a tensor is quantised twice"
    source = graph.producer(node.input[0])
    if source is not None and source.op_type == "DequantizeLinear":
        yield f"{node.name}: quantised again right behind DQ"


def _added(graph: Graph, node: NodeProto) -> Iterator[str]:
    sources = [graph.producer(name) for name in node.input]
    kinds = sorted("none" if source is None else source.op_type for source in sources)
    if kinds != ["Conv", "DequantizeLinear"]:
        yield f"{node.name}: adds {kinds}, not a convolution and a quantised shortcut"


def _weighted(graph: Graph, node: NodeProto) -> Iterator[str]:
    sides = [graph.producer(name) for name in node.input[:2]]
    dequantised = [side is not None and side.op_type == "DequantizeLinear" for side in sides]
    if any(dequantised) != all(dequantised):
        yield f"{node.name}: only one side is quantised"
    if len(node.input) > 2:
        bias = graph.constant(node.input[2])
        if bias is None or bias.dtype not in LEAST:
            yield f"{node.name}: the bias is not a float constant"
    reader = graph.only_reader(node.output[0])
    if reader is not None and reader.op_type == "QuantizeLinear" and all(dequantised):
        after = graph.only_reader(graph.readers(reader.output[0])[0][0].output[0])
        if after is not None and after.op_type in {"Relu", "Clip"}:
            yield f"{node.name}: Q stands before its {after.op_type}"
