"""Placement for ONNX Runtime on processors: every tensor between its integer kernels is 8 bits.

ONNX Runtime fuses DQ -> operator -> Q into one integer kernel, so all operators that have such a
kernel get Q/DQ on inputs and output alike. Activations are UINT8 with a zero point: an activation
that clamps (ReLU, ReLU6) is then left out, for the clamp of its Q does the same. Biases are INT32.

Weights of 7 bits: without VNNI instructions the x86 kernels add two products of UINT8 and INT8 in
16 bits and saturate; 2 * 255 * 64 < 2**15 cannot, so every processor gives the same logits.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekd.export.graph import Graph, replace_nodes, set_constant
from edgekd.export.names import module_of, unique
from edgekd.export.plan import PASSING, Plan, layers
from edgekd.export.target import Quantise
from edgekd.export.tidy import affine, image_tensors

# Operators without weights that have a kernel for UINT8.
_KERNELS = ("Add", "Mul", "GlobalAveragePool", "AveragePool", "Concat", "Sigmoid", "LeakyRelu")


def prepare(model: ModelProto) -> None:
    """Write what batch normalisation is left as convolutions, in place; tensors keep their names.

    ONNX Runtime has no integer kernel for it, but for a convolution of each channel for itself.
    """
    graph = Graph(model)
    images = image_tensors(model)
    taken = {node.name for node in graph.nodes}
    for node in graph.nodes:
        parameters = affine(graph, node) if node.op_type == "BatchNormalization" else None
        if parameters is None or node.output[0] not in images:
            continue
        factor, shift = parameters
        weight, bias = f"{node.name}.factor", f"{node.name}.shift"
        set_constant(model, weight, factor.reshape(-1, 1, 1, 1))
        set_constant(model, bias, shift)
        name = unique(f"{module_of(node.name)}/Conv", taken)
        node.CopyFrom(
            helper.make_node(
                "Conv", [node.input[0], weight, bias], [node.output[0]], name,
                group=len(factor), kernel_shape=[1, 1],
            )
        )  # fmt: skip
    replace_nodes(model, list(model.graph.node))


def place(model: ModelProto, rules: Quantise) -> Plan:
    """Decide what is quantised in a tidied float model."""
    graph = Graph(model)
    plan = Plan()
    weighted = {
        name: axis
        for name, axis in layers(graph, rules).items()
        if _node(graph, name).op_type != "ConvTranspose"  # no integer kernel
    }
    raw = _raw(graph)
    whole = {name for node in graph.nodes for name in node.output} - _float_tensors(model)
    wanted: set[str] = set()
    for node in graph.nodes:
        if node.name in weighted and node.op_type == "Conv" and node.output[0] in raw:
            # Only a convolution with an 8-bit output is fused, and logits stay float.
            continue
        if node.name in weighted:
            plan.layers[node.name] = weighted[node.name]
            wanted.update(graph.activations(node)[:1])
            # A matrix product may return FP32, and does unless an integer kernel reads it.
            if node.op_type == "Conv":
                wanted.add(_clamped(graph, node.output[0]))
        elif _has_kernel(graph, node, raw | whole):
            wanted.update(set(graph.activations(node)) - whole)
            wanted.update(_clamped(graph, output) for output in node.output)
    _absorb(graph, plan, wanted)
    order = graph.inputs + [name for node in graph.nodes for name in node.output]
    plan.tensors = [tensor for tensor in order if tensor in wanted]
    _share(graph, plan)
    return plan


def _node(graph: Graph, name: str) -> NodeProto:
    return next(node for node in graph.nodes if node.name == name)


def _raw(graph: Graph) -> set[str]:
    """Return the tensors that are, but for their layout, the logits."""
    raw = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.op_type in PASSING and raw.issuperset(node.output):
            raw.add(node.input[0])
    return raw


def _float_tensors(model: ModelProto) -> set[str]:
    """Return the tensors of real numbers: shapes are computed by Gather and Reshape too."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _has_kernel(graph: Graph, node: NodeProto, skipped: set[str]) -> bool:
    if skipped.intersection(node.output):
        return False
    if node.op_type in PASSING:
        return not graph.is_constant(node.input[0])
    return node.op_type in _KERNELS and not any(graph.is_constant(name) for name in node.input)


def _clamps(graph: Graph, node: NodeProto) -> bool:
    """Say whether the clamp of a Q, whose range holds 0, does the same."""
    low, high = bounds(graph, node)
    return (low, high) != (-np.inf, np.inf) and low <= 0 <= high


def bounds(graph: Graph, node: NodeProto) -> tuple[float, float]:
    """Return between which constants a node cuts its input; infinite: it does not."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip":
        return -np.inf, np.inf
    low, high = _bound(graph, node, 1, -np.inf), _bound(graph, node, 2, np.inf)
    return (-np.inf, np.inf) if low is None or high is None else (low, high)


def _bound(graph: Graph, node: NodeProto, index: int, default: float) -> float | None:
    """Return a bound of a Clip; None: it is computed."""
    if len(node.input) <= index or not node.input[index]:
        return default
    value = graph.constant(node.input[index])
    return None if value is None else float(value.item())


def _clamped(graph: Graph, tensor: str) -> str:
    """Return the output of the clamp that alone reads ``tensor``, else the tensor."""
    reader = graph.only_reader(tensor)
    if reader is not None and _clamps(graph, reader) and reader.output[0] not in graph.outputs:
        return str(reader.output[0])
    return tensor


def _absorb(graph: Graph, plan: Plan, wanted: set[str]) -> None:
    """Leave out clamps in front of a Q, whose range ends where the clamp's does."""
    for node in graph.nodes:
        if _clamps(graph, node) and node.output[0] in wanted:
            plan.absorbed.add(node.name)
            if graph.only_reader(node.input[0]) is node:
                wanted.discard(node.input[0])


def _share(graph: Graph, plan: Plan) -> None:
    for node in graph.nodes:
        if node.op_type in PASSING and node.input[0] in plan.tensors:
            for output in node.output:
                if output in plan.tensors:
                    plan.share(output, node.input[0])
