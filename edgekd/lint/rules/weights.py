"""Q024 and Q026: the numbers of quantised weights."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from edgekd.lint.model import WEIGHTED, Graph, attribute, given
from edgekd.lint.rule import Hit, at, rule
from edgekd.lint.rules.qdq import FLOATS, axis_of, blocks, per_channel

STEPS = 127
FEWEST = 32  # steps that the largest weight of a channel should reach
Values = NDArray[np.float64]


@rule(
    "Q024", "Scales of weights fit their values", "warning",
    why="Too small a scale clips weights; too large a one leaves few steps for them.",
    source="Krishnamoorthi 2018, Quantizing deep convolutional networks",
    fix="Take max |w| / 127 of each output channel as its scale.",
)  # fmt: skip
def scales_fit(graph: Graph) -> Iterator[Hit]:
    """Yield weights that are clipped or use few steps, and convolutions with one scale for all."""
    for node in graph.of(*WEIGHTED):
        source = graph.made_by(given(node, 1), "DequantizeLinear")
        if source is None or blocks(source) or not (known := steps(graph, source)):
            continue
        tensor, values, is_float = known
        clipped = float((np.abs(values) > STEPS + 0.5).mean()) if is_float else 0.0
        if clipped:
            yield at(source, f"{clipped:.2%} of the weights are clipped", None, tensor)
        largest = np.abs(values).max(axis=1)
        poor = int(((largest > 0) & (largest < FEWEST)).sum())
        if poor:
            message = f"{poor} of {len(largest)} channels use fewer than {FEWEST} of {STEPS} steps"
            yield at(source, message, None, tensor)
        grouped = node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1
        if "Conv" in node.op_type and not per_channel(graph, source) and not grouped:
            shape = graph.shape(tensor) or []
            if (shape[1 if node.op_type == "ConvTranspose" else 0] or 0) > 1:
                yield at(source, "one scale for the weights of all channels", None, tensor)


def steps(graph: Graph, source: NodeProto) -> tuple[str, Values, bool] | None:
    """Return the weights' name, their values in steps [channels, rest], and if they are float.

    None: they cannot be read, or their scales do not fit them.
    """
    tensor = graph.weights_behind(given(source, 0))
    values = graph.numbers(tensor) if tensor else None
    scale = graph.numbers(given(source, 1))
    if values is None or scale is None or not values.size or not scale.size or not values.ndim:
        return None
    if not (np.isfinite(values).all() and np.isfinite(scale).all() and (scale > 0).all()):
        return None
    axis = axis_of(graph, source) if per_channel(graph, source) else None
    if axis is None:
        rows = values.reshape(1, -1)
    elif 0 <= axis < values.ndim and scale.shape == (values.shape[axis],):
        rows = np.moveaxis(values, axis, 0).reshape(len(scale), -1)
    else:
        return None
    is_float = graph.dtype(tensor) in FLOATS
    if not is_float and graph.dtype(tensor) != TensorProto.INT8:
        return None
    return tensor, rows / scale.reshape(-1, 1) if is_float else rows, is_float


@rule(
    "Q026", "Weights are stored once", "warning",
    why="A float copy beside the integers makes the file larger, not smaller.",
    source="ONNX file format", fix="Remove the float copy.",
)  # fmt: skip
def stored_once(graph: Graph) -> Iterator[Hit]:
    """Yield float initialisers that hold the values of quantised ones."""
    floats = [t for t in graph.initialisers.values() if t.data_type in FLOATS and len(t.dims) > 1]
    for source in graph.of("DequantizeLinear") if floats else ():
        tensor, scale = given(source, 0), graph.numbers(given(source, 1))
        if graph.dtype(tensor) != TensorProto.INT8 or tensor not in graph.initialisers:
            continue
        shape = graph.shape(tensor)
        alike = [other.name for other in floats if list(other.dims) == shape]
        integers = graph.numbers(tensor) if alike else None
        if integers is None or scale is None or blocks(source):
            continue
        axis = axis_of(graph, source)
        if scale.size > 1:
            if not 0 <= axis < integers.ndim or scale.size != integers.shape[axis]:
                continue
            scale = scale.reshape([-1 if k == axis else 1 for k in range(integers.ndim)])
        for name in alike:
            copied = graph.numbers(name)
            if copied is not None and (np.abs(copied - integers * scale) <= 0.51 * scale).all():
                message = f"'{name}' holds the values of '{tensor}' in float"
                yield at(source, message, None, name)
