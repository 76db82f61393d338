"""FP16: the float graph written in half-precision tensors, and in FP32 where those do not do.

The input and the output stay FP32, with a Cast behind the one and before the other. An operator
stays FP32, between two Casts, for what it is (``SINGLE``, sums of many numbers, no FP16 in ONNX) or
for what it reads and writes: numbers beyond 65504, or constants that lie below FP16's normal ones.
TensorRT 11 takes the precision of a layer from the types in the graph and from nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekd.core.errors import ExportError
from edgekd.export import opset
from edgekd.export.graph import WEIGHTED, Graph, attribute, replace_nodes, set_constant
from edgekd.export.numbers import LARGEST_HALF as LARGEST
from edgekd.export.numbers import LEAST_NORMAL_HALF as LEAST_NORMAL

HEADROOM = 2.0  # between what was measured on some images, and what others may give
MANY = 1024  # terms: errors of rounding grow with the root of their number, here to 5 of 11 bits

_EXPONENTIALS = "it sums exponentials, which leave the range of FP16"
_SQUARES = "it sums squares, which leave the range of FP16"
SINGLE = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "ReduceLogSumExp"), _EXPONENTIALS),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "LpNormalization", "LRN"), _SQUARES),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization"), _SQUARES),
    **dict.fromkeys(("GroupNormalization", "MeanVarianceNormalization"), _SQUARES),
    "CumSum": "it rounds at every step of a sum",
}
_SUMS = (
    "ReduceSum", "ReduceMean", "ReduceL1", "ReduceLogSum", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
_BIAS = 2  # index of the input


def convert(model: ModelProto, largest: Mapping[str, float]) -> tuple[ModelProto, tuple[str, ...]]:
    """Return the model in FP16, and what to know about it.

    Args:
        model: float, or with Q and DQ whose scales FP16 holds; each node named. It is left as
            it is, and its opset is kept.
        largest: largest absolute value of each tensor of ``activations`` on real images.

    Returns:
        The model, and notes: a sentence for each operator that stays FP32, and one on weights
        that FP16 holds with fewer bits.

    Raises:
        ExportError: the graph has branches or loops of its own, or ONNX refuses the result.
    """
    result: ModelProto = ModelProto.FromString(model.SerializeToString())
    writer = _Writer(result, largest)
    writer.write()
    try:
        onnx.checker.check_model(result, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the model cannot be written in FP16: {error}") from error
    return result, writer.notes()


def activations(model: ModelProto) -> list[str]:
    """Return the FP32 tensors that are computed from the images, and the images themselves."""
    graph = Graph(model)
    return [name for name in _shapes(model) if not graph.is_constant(name)]


def _shapes(model: ModelProto) -> dict[str, list[int] | None]:
    """Return the sizes of every FP32 tensor, 0 where free; None: ONNX cannot infer them."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes: dict[str, list[int] | None] = {}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT:
            sizes = [size.dim_value for size in kind.shape.dim]
            shapes[value.name] = sizes if kind.HasField("shape") else None
    for tensor in inferred.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            shapes[tensor.name] = list(tensor.dims)
    return shapes


@dataclass
class _Writer:
    """Writes into ``model``; its graph index is that of the float model."""

    model: ModelProto
    largest: Mapping[str, float]
    kept: dict[str, str] = field(default_factory=dict)  # node -> why it stays FP32
    halves: set[str] = field(default_factory=set)  # activations that are FP16
    converted: dict[str, NDArray[np.float32]] = field(default_factory=dict)  # constants

    def __post_init__(self) -> None:
        self.graph = Graph(self.model)
        self.shapes = _shapes(self.model)
        self.opset = opset.of(self.model)
        self.chosen = {node.name for node in self.graph.nodes if self._fits(node)}
        self.casts: set[str] = set()

    def write(self) -> None:
        nodes: list[NodeProto] = []
        for node in self.graph.nodes:
            nodes += self._feed(node)
            nodes.append(node)
            if node.name in self.chosen:
                self.halves |= {name for name in node.output if name in self.shapes}
        for name in self.halves & set(self.graph.outputs):
            nodes.append(_rename(nodes, name))
        replace_nodes(self.model, nodes)

    def notes(self) -> tuple[str, ...]:
        lines = [f"'{name}' stays FP32: {reason}" for name, reason in self.kept.items()]
        small = zero = 0
        for value in self.converted.values():
            small += int(((value != 0) & (np.abs(value) < LEAST_NORMAL)).sum())
            zero += int(((value != 0) & (value.astype(np.float16) == 0)).sum())
        if small:
            total = sum(value.size for value in self.converted.values())
            lines.append(
                f"{small} of {total} constants are below FP16's normal numbers "
                f"({LEAST_NORMAL:.2g}) and lose bits; {zero} of them become zero"
            )
        return tuple(lines)

    def _fits(self, node: NodeProto) -> bool:
        """Say whether a node computes in FP16, and note why if one that could does not."""
        if any(part.type == onnx.AttributeProto.GRAPH for part in node.attribute):
            raise ExportError(
                f"node '{node.name}' holds a graph of its own, which FP16 targets do not know: "
                "export to an FP32 target"
            )
        reads = [name for name in node.input if name in self.shapes]
        if node.op_type == "Cast" or not reads:  # it says its type itself
            return False
        reason = SINGLE.get(node.op_type) or self._limits(node) or self._numbers(node)
        if reason:
            self.kept[node.name] = reason
        return not reason

    def _limits(self, node: NodeProto) -> str | None:
        """Return why the operator itself asks for FP32."""
        schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
        writes = [
            formal
            for formal, name in zip(schema.outputs, node.output, strict=False)
            if name in self.shapes
        ]
        if any("tensor(float16)" not in formal.types for formal in writes):
            return f"opset {self.opset} has no {node.op_type} of FP16"
        if node.op_type in _SUMS and self._terms(node) > MANY:
            return f"it sums more than {MANY} numbers"
        return None

    def _terms(self, node: NodeProto) -> float:
        """Return how many numbers are summed to one; infinite: nobody knows."""
        window = attribute(node, "kernel_shape")
        if window:
            return float(prod(window))
        inside, outside = self.shapes.get(node.input[0]), self.shapes.get(node.output[0])
        if not inside or outside is None:
            return inf
        return prod(size or 1 for size in inside) / prod(size or 1 for size in outside)

    def _numbers(self, node: NodeProto) -> str | None:
        """Return which number that it reads or writes FP16 cannot hold."""
        for index, name in enumerate(node.input):
            value = self._constant(name)
            if value is None or not self._takes_half(node, index):
                continue
            sizes = np.abs(value[np.isfinite(value) & (value != 0)])
            if sizes.max(initial=0) > LARGEST:
                return f"'{name}' holds {sizes.max():.3g}, beyond FP16's {LARGEST:.0f}"
            bias = node.op_type in WEIGHTED and index == _BIAS  # adding nothing is as good
            if sizes.size and sizes.max() < LEAST_NORMAL and not bias:
                return f"'{name}' is at most {sizes.max():.3g}, below FP16's normal numbers"
        for name in [*node.input, *node.output]:
            found = self.largest.get(name, 0.0)
            if not found * HEADROOM <= LARGEST:  # nor for what is no number
                return f"'{name}' reaches {found:.3g}, too near to FP16's {LARGEST:.0f}"
        return None

    def _constant(self, name: str) -> NDArray[np.float32] | None:
        if name not in self.shapes or not self.graph.is_constant(name):
            return None
        value = self.graph.constant(name)
        return None if value is None else value.astype(np.float32)

    def _takes_half(self, node: NodeProto, index: int) -> bool:
        """Say whether an input may be FP16; the scales of Resize, for one, may not."""
        formal = onnx.defs.get_schema(node.op_type, self.opset, node.domain).inputs
        return "tensor(float16)" in formal[min(index, len(formal) - 1)].types

    def _wants_half(self, node: NodeProto, index: int) -> bool:
        return node.name in self.chosen and self._takes_half(node, index)

    def _feed(self, node: NodeProto) -> list[NodeProto]:
        """Give a node its inputs in its own precision; return the Casts that this needs."""
        casts = []
        for index, name in enumerate(list(node.input)):
            if name not in self.shapes:
                continue
            wants = self._wants_half(node, index)
            value = self._constant(name)
            if value is not None:
                node.input[index] = self._halved(name, value) if wants else name
            elif wants != (name in self.halves):
                kind = TensorProto.FLOAT16 if wants else TensorProto.FLOAT
                node.input[index] = f"{name}/{'half' if wants else 'single'}"
                if node.input[index] not in self.casts:
                    self.casts.add(node.input[index])
                    casts.append(_cast(name, node.input[index], kind))
        return casts

    def _halved(self, name: str, value: NDArray[np.float32]) -> str:
        """Store a constant in FP16, beside itself if others read it in FP32; return its name."""
        alone = all(self._wants_half(*reader) for reader in self.graph.readers(name))
        new = name if alone else f"{name}/half"
        if name not in self.converted:
            self.converted[name] = value
            set_constant(self.model, new, value.astype(np.float16))
        return new


def _cast(source: str, result: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [result], f"{result}/Cast", to=kind)


def _rename(nodes: list[NodeProto], output: str) -> NodeProto:
    """Let the network's output be a Cast of what was computed under its name."""
    inside = f"{output}/half"
    for node in nodes:
        node.input[:] = [inside if name == output else name for name in node.input]
        node.output[:] = [inside if name == output else name for name in node.output]
    return _cast(inside, output, TensorProto.FLOAT)
