"""The one writer of QuantizeLinear and DequantizeLinear: from a float model, a plan and ranges."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from edgekd.core.errors import ExportError
from edgekd.export import numbers
from edgekd.export.forms import onnxruntime, tensorrt
from edgekd.export.graph import Graph, attribute, replace_nodes, set_constant
from edgekd.export.numbers import Encoding
from edgekd.export.plan import Plan, unknown_globs
from edgekd.export.target import Target

log = logging.getLogger(__name__)

Ranges = Mapping[str, tuple[float, float]]

_PLACE = {"onnxruntime": onnxruntime.place, "tensorrt": tensorrt.place}
_ENCODE = {"onnxruntime": numbers.asymmetric, "tensorrt": numbers.symmetric}


def prepare(model: ModelProto, target: Target) -> ModelProto:
    """Return the float model with operators that the form's integer kernels know.

    What it computes stays the same, and so do the names of tensors.
    """
    prepared: ModelProto = ModelProto.FromString(model.SerializeToString())
    if target.form == "onnxruntime":
        onnxruntime.prepare(prepared)
    return prepared


def place(model: ModelProto, target: Target) -> Plan:
    """Decide what is quantised, by the rules of the target's form.

    Raises:
        ExportError: nothing can be, or ``keep_float`` names a layer that is not there.
    """
    assert target.form is not None
    unknown = unknown_globs(Graph(model), target.quantise)
    if unknown:
        raise ExportError(f"keep_float matches no layer: {', '.join(unknown)}")
    plan = _PLACE[target.form](model, target.quantise)
    if not plan.layers:
        raise ExportError(
            f"target '{target.name}' would leave every layer in float: the network has no "
            "convolution or matrix product with constant weights that its rules let quantise"
        )
    return plan


def write(model: ModelProto, plan: Plan, ranges: Ranges, target: Target) -> ModelProto:
    """Return the model with Q and DQ as the plan says.

    Args:
        model: float; it is left as it is.
        plan: of ``place``, for this model.
        ranges: low and high of each tensor of the plan.
        target: says the numbers' form.

    Raises:
        ExportError: a range is missing or no range.
    """
    result: ModelProto = ModelProto.FromString(model.SerializeToString())
    writer = _Writer(result, plan, _encodings(plan, ranges, target), target)
    writer.write()
    return result


def _encodings(plan: Plan, ranges: Ranges, target: Target) -> dict[str, Encoding]:
    assert target.form is not None
    encode = _ENCODE[target.form]
    encodings: dict[str, Encoding] = {}
    for members in plan.groups().values():
        bounds = [_range(tensor, ranges) for tensor in members]
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        if low == high == 0:
            log.warning("'%s' is zero for all calibration images", members[0])
        encoding = encode(low, high)
        if target.rest == "fp16":
            scale = numbers.half_scale(np.array(encoding.scale, dtype=np.float32))
            encoding = replace(encoding, scale=float(scale))
        encodings.update(dict.fromkeys(members, encoding))
    return encodings


def _range(tensor: str, ranges: Ranges) -> tuple[float, float]:
    if tensor not in ranges:
        raise ExportError(f"there is no range for tensor '{tensor}': calibrate this model anew")
    low, high = ranges[tensor]
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ExportError(f"the range of tensor '{tensor}' is [{low}, {high}], which is none")
    return low, high


@dataclass
class _Writer:
    """Writes into ``model``; its graph index is that of the float model."""

    model: ModelProto
    plan: Plan
    encodings: dict[str, Encoding]
    target: Target

    def write(self) -> None:
        graph = Graph(self.model)
        renamed = self._absorb(graph)
        nodes: list[NodeProto] = []
        for tensor in graph.inputs:
            nodes += self._pair(tensor, renamed)
        for node in graph.nodes:
            if node.name not in self.plan.absorbed:
                # Weights first: they need to know which tensor the layer reads.
                nodes += self._weights(graph, node)
                self._read_dequantised(node)
                nodes.append(node)
            for tensor in node.output:
                nodes += self._pair(tensor, renamed)
        replace_nodes(self.model, nodes)

    def _absorb(self, graph: Graph) -> dict[str, str]:
        """Return for each absorbed activation's output what its Q reads instead."""
        return {
            node.output[0]: self._source(node.input[0])
            for node in graph.nodes
            if node.name in self.plan.absorbed
        }

    def _source(self, tensor: str) -> str:
        return f"{tensor}/dequantised" if tensor in self.encodings else tensor

    def _pair(self, tensor: str, renamed: dict[str, str]) -> list[NodeProto]:
        encoding = self.encodings.get(tensor)
        if encoding is None:
            return []
        scale, zero = f"{tensor}/scale", f"{tensor}/zero_point"
        set_constant(self.model, scale, np.array(encoding.scale, dtype=np.float32))
        set_constant(self.model, zero, np.array(encoding.zero_point, dtype=encoding.dtype))
        integers, floats = f"{tensor}/quantised", f"{tensor}/dequantised"
        return [
            helper.make_node(
                "QuantizeLinear", [renamed.get(tensor, tensor), scale, zero], [integers],
                name=f"{tensor}/QuantizeLinear",
            ),
            helper.make_node(
                "DequantizeLinear", [integers, scale, zero], [floats],
                name=f"{tensor}/DequantizeLinear",
            ),
        ]  # fmt: skip

    def _read_dequantised(self, node: NodeProto) -> None:
        for index, name in enumerate(node.input):
            node.input[index] = self._source(name)

    def _weights(self, graph: Graph, node: NodeProto) -> list[NodeProto]:
        if node.name not in self.plan.layers:
            return []
        axis = self.plan.layers[node.name]
        if node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1:
            axis = None  # its weight's second axis holds the channels of one group only
        weight = cast("NDArray[np.float32]", graph.constant(node.input[1]))
        bias = graph.constant(node.input[2]) if len(node.input) > 2 else None  # noqa: PLR2004
        whole = self.target.form == "onnxruntime" and bias is not None
        reads = self.encodings[node.input[0]].scale
        room = numbers.bias_room(cast("NDArray[np.float32]", bias), reads) if whole else None
        integers, scales = numbers.quantise_weight(
            weight,
            axis,
            self.target.quantise.weight_bits,
            room,
            half=self.target.rest == "fp16",
        )
        nodes = [self._constant(node, 1, integers, scales, axis)]
        if whole and bias is not None:
            nodes.append(self._bias(node, bias, np.float32(reads) * scales))
        return nodes

    def _bias(
        self, node: NodeProto, bias: NDArray[np.generic], scales: NDArray[np.float32]
    ) -> NodeProto:
        """Write the bias in the accumulator's own scale, so that it is added there, in INT32."""
        integers = np.rint(bias.astype(np.float64) / scales).astype(np.int32)
        return self._constant(node, 2, integers, scales, 0)

    def _constant(
        self,
        node: NodeProto,
        index: int,
        integers: NDArray[np.int8] | NDArray[np.int32],
        scales: NDArray[np.float32],
        axis: int | None,
    ) -> NodeProto:
        """Store integers in place of a constant, and let the node read them through a DQ."""
        name = f"{node.name}/{'weight' if index == 1 else 'bias'}"
        parts = [f"{name}/quantised", f"{name}/scale", f"{name}/zero_point"]
        zeros = np.zeros(scales.shape, dtype=integers.dtype)
        for part, value in zip(parts, (integers, scales, zeros), strict=True):
            set_constant(self.model, part, value)
        node.input[index] = f"{name}/dequantised"
        # ONNX and TensorRT take different axes where none is written.
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        return helper.make_node(
            "DequantizeLinear", parts, [node.input[index]], f"{name}/DequantizeLinear", **attributes
        )
