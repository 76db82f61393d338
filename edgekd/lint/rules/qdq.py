"""Q001 to Q010: Q and DQ that are valid one by one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from edgekd.lint.model import PAIRED, WEIGHTED, Graph, Version, attribute, given, is_default
from edgekd.lint.rule import Hit, Severity, at, rule

GUIDE = "NVIDIA TensorRT documentation, Working with Quantized Types"
PARSER = "onnx/onnx-tensorrt, the parser's import of QuantizeLinear and DequantizeLinear"
ONNX = "ONNX operator specification"

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, *HALVES)
FOUR_BITS = (TensorProto.INT4, TensorProto.UINT4)
# Which types DequantizeLinear reads, and since when.
READABLE: dict[int, Version] = {
    TensorProto.INT8: (8, 0),
    TensorProto.FLOAT8E4M3FN: (9, 0),
    TensorProto.INT4: (10, 0),
    TensorProto.FLOAT4E2M1: (10, 8),
}
UINT8_SINCE = (10, 10)


def type_name(kind: int) -> str:
    """Return "INT8" for TensorProto.INT8."""
    names: dict[int, str] = {value: name for name, value in TensorProto.DataType.items()}
    return names.get(kind, f"type {kind}")


def blocks(node: NodeProto) -> bool:
    """Say whether scales are given for blocks."""
    return bool(attribute(node, "block_size", 0) > 0)


def axis_of(graph: Graph, node: NodeProto) -> int:
    """Return the axis of the scales as TensorRT reads it: 0 where it is not written."""
    axis = int(attribute(node, "axis", 0))
    shape = graph.shape(given(node, 0))
    return axis + len(shape) if axis < 0 and shape else axis


def per_channel(graph: Graph, node: NodeProto) -> bool:
    """Say whether Q or DQ has a scale for each channel."""
    shape = graph.shape(given(node, 1))
    return bool(shape) and not blocks(node) and shape != [1]


@rule(
    "Q001", "Zero points are constant zeros", "error",
    why="TensorRT quantises symmetrically; its parser refuses any other zero point.",
    source=PARSER, fix="Calibrate symmetrically: signed integers around zero.",
)  # fmt: skip
def zero_point_is_zero(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ with another zero point."""
    yield from _computed(graph, 2, "zero point")
    for node, name, value in _constants(graph, 2):
        if value.any():
            worst = value.flat[np.argmax(np.abs(value))]
            yield at(node, f"the zero point is {worst:g}, where 0 was expected", None, name)


@rule(
    "Q002", "Zero points are written, and of type INT8", "error", later=(UINT8_SINCE, "warning"),
    why="Without a zero point ONNX means UINT8 and TensorRT INT8; older parsers refuse UINT8.",
    source=PARSER, fix="Write a zero point of zeros, of type INT8.",
)  # fmt: skip
def zero_point_is_int8(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ without a zero point, or with one of another type."""
    for node in graph.of(*PAIRED):
        name = given(node, 2)
        if not name:
            if not attribute(node, "output_dtype", 0):
                yield at(node, "there is no zero point: ONNX and TensorRT differ", "warning")
            continue
        kind = graph.dtype(name)
        if kind == TensorProto.UINT8:
            yield at(node, "the zero point is UINT8, where INT8 was expected", None, name)
        elif kind and kind not in READABLE:
            message = f"the zero point is {type_name(kind)}, where INT8 was expected"
            yield at(node, message, "error", name)


@rule(
    "Q003", "Scales are constant, finite, positive and normal numbers", "error",
    why="A scale of zero, or one that is flushed to zero, divides by zero.",
    source=PARSER, fix="Calibrate again; a channel without values gets the scale of its layer.",
)  # fmt: skip
def scale_is_sound(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ with a bad scale."""
    yield from _computed(graph, 1, "scale")
    for node, name, value in _constants(graph, 1):
        if not value.size:
            yield at(node, "the scale has no value", None, name)
        elif not (np.isfinite(value) & (value > 0)).all():
            bad = value[~(np.isfinite(value) & (value > 0))].flat[0]
            yield at(node, f"a scale is {bad:g}, where more than 0 was expected", None, name)
        elif graph.dtype(name) == TensorProto.FLOAT and value.min() < np.finfo(np.float32).tiny:
            yield at(node, f"a scale is subnormal: {value.min():g}", None, name)


@rule(
    "Q004", "Only weights have a scale for each channel", "error",
    why="TensorRT quantises activations with one scale for the tensor.",
    source=GUIDE, fix="Calibrate activations for the whole tensor.",
)  # fmt: skip
def activations_have_one_scale(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ of activations with several scales."""
    for node in graph.of(*PAIRED):
        if per_channel(graph, node) and not graph.weights_behind(given(node, 0)):
            shape = graph.shape(given(node, 1))
            yield at(node, f"an activation has scales of shape {shape}, where one was expected")


@rule(
    "Q005", "There are as many scales as channels, and as many zero points as scales", "error",
    why="The parser refuses other lengths.",
    source=PARSER, fix="Write one scale and one zero point for each channel along the axis.",
)  # fmt: skip
def lengths_agree(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ whose scale has another length than the data or the zero point."""
    for node in graph.of(*PAIRED):
        data, scale, zero = (graph.shape(given(node, index)) for index in range(3))
        if given(node, 2) and None not in (scale, zero) and _size(scale) != _size(zero):
            yield at(node, f"scales have shape {scale}, zero points {zero}")
        if data is None or scale is None or not per_channel(graph, node):
            continue
        axis = axis_of(graph, node)
        if len(scale) != 1:
            yield at(node, f"scales have shape {scale}, where one axis was expected")
        elif not 0 <= axis < len(data):
            yield at(node, f"axis {axis} is not one of data of shape {data}")
        elif None not in (data[axis], scale[0]) and data[axis] != scale[0]:
            message = f"there are {scale[0]} scales for the {data[axis]} channels along axis {axis}"
            yield at(node, message)


@rule(
    "Q006", "Scales of weights lie along the output channels", "error",
    why="Along any other axis the scale cannot be moved behind the sum.",
    source=GUIDE,
    fix="axis: Conv 0, ConvTranspose 1, MatMul last, Gemm 0 if transB else 1.",
)  # fmt: skip
def axis_is_that_of_the_outputs(graph: Graph) -> Iterator[Hit]:
    """Yield DQ of weights with scales along another axis."""
    for node in graph.of(*WEIGHTED):
        source = graph.made_by(given(node, 1), "DequantizeLinear")
        if source is None or not per_channel(graph, source):
            continue
        shape = graph.shape(given(source, 0))
        if not graph.weights_behind(given(source, 0)) or not shape:
            continue
        expected = {
            "Conv": 0,
            "ConvTranspose": 1,
            "MatMul": len(shape) - 1,
            "Gemm": 0 if attribute(node, "transB", 0) else 1,
        }[node.op_type]
        axis = axis_of(graph, source)
        grouped = node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1
        if axis != expected or grouped:
            message = f"scales along axis {axis} of the weights of {node.op_type}"
            message += "" if axis == expected else f", where {expected} was expected"
            message += ", whose groups share them" if grouped else ""
            yield at(source, message, "warning" if grouped else None)


@rule(
    "Q007", "The axis of several scales is written", "warning",
    why="Where it is not, ONNX means 1 and TensorRT's parser 0.",
    source=f"{PARSER}; {ONNX}", fix="Write the attribute axis.",
)  # fmt: skip
def axis_is_written(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ with several scales and no axis."""
    for node in graph.of(*PAIRED):
        if per_channel(graph, node) and attribute(node, "axis") is None:
            yield at(node, "the axis of its scales is not written")


@rule(
    "Q008", "DequantizeLinear reads INT8, or a later type that the version knows", "error",
    why="TensorRT's dequantise layer has no INT32 or 16-bit input; biases stay float.",
    source=GUIDE, fix="Keep biases in float (ONNX Runtime's quantiser: QuantizeBias=False).",
)  # fmt: skip
def dequantised_type_is_known(graph: Graph) -> Iterator[Hit]:
    """Yield DQ of other types; UINT8 with its zero point is a matter of Q002."""
    for node in graph.of("DequantizeLinear"):
        kind = graph.dtype(given(node, 0))
        if kind == TensorProto.UINT8:
            if not given(node, 2):
                severity: Severity = "error" if graph.version < UINT8_SINCE else "warning"
                yield at(node, "dequantises UINT8, where INT8 was expected", severity)
        elif kind and READABLE.get(kind, (99, 0)) > graph.version:
            what = " (a bias?)" if kind == TensorProto.INT32 else ""
            yield at(node, f"dequantises {type_name(kind)}{what}, where INT8 was expected")


INTEGER = (
    "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "QGemm", "QAttention",
)  # fmt: skip


@rule(
    "Q009", "There are no integer operators, only Q and DQ around float ones", "error",
    why="The parser knows neither QLinear* nor *Integer nor dynamic quantisation.",
    source="onnx/onnx-tensorrt, docs/operators.md",
    fix="Quantise in the QDQ format (ONNX Runtime: QuantFormat.QDQ, quantize_static).",
)  # fmt: skip
def no_integer_operators(graph: Graph) -> Iterator[Hit]:
    """Yield the nodes with such operators."""
    for node in graph.nodes:
        if node.op_type in INTEGER or node.op_type.startswith("QLinear"):
            yield at(node, f"{node.op_type} is not supported")


@rule(
    "Q010", "The opset knows what Q and DQ use", "error",
    why="Scales for channels came with opset 13, half scales with 19, INT4 and blocks with 21.",
    source=ONNX, fix="Export with a later opset, or quantise otherwise.",
)  # fmt: skip
def opset_is_late_enough(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ that need a later opset."""
    for node in graph.of(*PAIRED):
        if not is_default(node.domain):
            continue
        four = {graph.dtype(given(node, 0)), graph.dtype(given(node, 2))} & set(FOUR_BITS)
        if four or blocks(node) or attribute(node, "output_dtype", 0):
            need, what = 21, "4-bit integers, blocks or output_dtype"
        elif graph.dtype(given(node, 1)) in HALVES:
            need, what = 19, "a scale in half precision"
        elif per_channel(graph, node) or attribute(node, "axis") is not None:
            need, what = 13, "an axis"
        else:
            continue
        if graph.opset < need:
            yield at(node, f"{what} needs opset {need}, the model has {graph.opset}")


def _size(shape: list[int | None] | None) -> int:
    return int(np.prod([size or 0 for size in shape or []]))


def _computed(graph: Graph, place: int, what: str) -> Iterator[Hit]:
    """Yield Q and DQ whose input at ``place`` is no constant."""
    for node in graph.of(*PAIRED):
        name = given(node, place)
        if name and not graph.is_constant(name):
            yield at(node, f"the {what} is computed, where a constant was expected", None, name)


def _constants(graph: Graph, place: int) -> Iterator[tuple[NodeProto, str, NDArray[Any]]]:
    """Yield each Q and DQ with the name and the values of its input at ``place``, where known."""
    for node in graph.of(*PAIRED):
        name = given(node, place)
        value = graph.numbers(name) if name and graph.is_constant(name) else None
        if value is not None:
            yield node, name, value
