"""Placement for ONNX Runtime on processors: every tensor between its integer kernels is 8 bits.

ONNX Runtime fuses DQ -> operator -> Q into one integer kernel, so all operators that have such a
kernel get Q/DQ on inputs and output alike. Activations are UINT8 with a zero point: an activation
that clamps (ReLU, ReLU6) is then left out, for the clamp of its Q does the same. Biases are INT32.

Weights of 7 bits: without VNNI instructions the x86 kernels add two products of UINT8 and INT8 in
16 bits and saturate; 2 * 255 * 64 < 2**15 cannot, so every processor gives the same logits.
"""

from onnx import ModelProto, NodeProto

from edgekd.export.graph import Graph
from edgekd.export.plan import PASSING, Plan, layers
from edgekd.export.target import Quantise

_MATRIX = ("Gemm", "MatMul")
_CLAMPS = ("Relu", "Clip")
# Operators without weights that have a kernel for UINT8.
_KERNELS = ("Add", "Mul", "GlobalAveragePool", "AveragePool", "Concat", "Sigmoid", "LeakyRelu")


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
    wanted: set[str] = set()
    for node in graph.nodes:
        if node.name in weighted and node.op_type == "Conv" and node.output[0] in raw:
            # Only a convolution with an 8-bit output is fused, and logits stay float.
            continue
        if node.name in weighted:
            plan.layers[node.name] = weighted[node.name]
            wanted.update(graph.activations(node)[:1])
            if node.op_type == "Conv":
                wanted.add(_clamped(graph, node.output[0]))
        elif _has_kernel(graph, node, raw):
            wanted.update(graph.activations(node))
            wanted.update(_clamped(graph, output) for output in node.output)
    _absorb(graph, plan, wanted)
    _keep_matrix_outputs_float(graph, plan, wanted)
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


def _has_kernel(graph: Graph, node: NodeProto, raw: set[str]) -> bool:
    if raw.intersection(node.output):
        return False
    if node.op_type in PASSING:
        return not graph.is_constant(node.input[0])
    return node.op_type in _KERNELS and not any(graph.is_constant(name) for name in node.input)


def _clamped(graph: Graph, tensor: str) -> str:
    """Return the output of the clamp that alone reads ``tensor``, else the tensor."""
    reader = graph.only_reader(tensor)
    if reader is not None and reader.op_type in _CLAMPS and reader.output[0] not in graph.outputs:
        return str(reader.output[0])
    return tensor


def _absorb(graph: Graph, plan: Plan, wanted: set[str]) -> None:
    """Leave out clamps in front of a Q, whose range ends where the clamp's does."""
    for node in graph.nodes:
        if node.op_type in _CLAMPS and node.output[0] in wanted:
            plan.absorbed.add(node.name)
            if graph.only_reader(node.input[0]) is node:
                wanted.discard(node.input[0])


def _keep_matrix_outputs_float(graph: Graph, plan: Plan, wanted: set[str]) -> None:
    """A matrix product can return FP32: it is quantised only for readers that compute in 8 bits."""
    for node in graph.nodes:
        if node.name in plan.layers and node.op_type in _MATRIX and node.output[0] in wanted:
            readers = [reader.name for reader, _ in graph.readers(node.output[0])]
            if not wanted.intersection(_outputs(graph, readers)):
                wanted.discard(node.output[0])


def _outputs(graph: Graph, names: list[str]) -> list[str]:
    return [output for name in names for output in _node(graph, name).output]


def _share(graph: Graph, plan: Plan) -> None:
    for node in graph.nodes:
        if node.op_type in PASSING and node.input[0] in plan.tensors:
            for output in node.output:
                if output in plan.tensors:
                    plan.share(output, node.input[0])
