"""Placement for TensorRT: symmetric Q/DQ at the inputs of what is to compute in INT8.

Source: TensorRT's documentation, "Explicit Quantization", and its lists of layer fusions:
convolution, bias, addition and activation fuse first, so no Q stands between them; the skip input
of a residual addition is quantised and the convolution's is not; inputs of one Concat share a
scale; pooling and copying commute with Q and DQ.
"""

from onnx import ModelProto, NodeProto

from edgekd.export.graph import Graph, attribute
from edgekd.export.plan import PASSING, Plan, layers
from edgekd.export.target import Quantise

_NARROW = 16  # channels


def place(model: ModelProto, rules: Quantise) -> Plan:
    """Decide what is quantised in a tidied float model."""
    graph = Graph(model)
    wanted = layers(graph, rules)
    if rules.small_layers == "float":
        first = next(iter(wanted), "")
        for node in graph.nodes:
            if node.name in wanted and is_small(graph, node, first=node.name == first):
                del wanted[node.name]
    plan = Plan(layers=wanted)
    for node in graph.nodes:
        if node.name in wanted:
            plan.add(node.input[0])
    _residuals(graph, plan)
    _concats(graph, plan)
    _passing(graph, plan)
    order = graph.inputs + [name for node in graph.nodes for name in node.output]
    plan.tensors.sort(key=order.index)
    return plan


def is_small(graph: Graph, node: NodeProto, *, first: bool) -> bool:
    """Say whether a layer gains nothing from INT8 on a GPU's tensor cores.

    Source: the exclusions of NVIDIA's Model-Optimizer, modelopt/onnx/quantization/graph_utils.py.
    """
    weight = graph.constant(node.input[1])
    assert weight is not None
    if node.op_type in {"Gemm", "MatMul"}:
        return bool(min(weight.shape) < _NARROW)
    group = attribute(node, "group", 1)
    outputs, inputs = weight.shape[0], weight.shape[1] * group
    if node.op_type == "ConvTranspose":
        outputs, inputs = weight.shape[1] * group, weight.shape[0]
    if min(outputs, inputs) >= _NARROW and group == 1:
        return False
    kernel = weight.shape[2:]
    if group > 1:
        return bool(outputs % 8 != 0 or min(kernel) < 3)  # noqa: PLR2004
    aligned = outputs % 8 == 0 or inputs % 8 == 0
    return not (aligned and (first or max(outputs, inputs) >= _NARROW) and len(set(kernel)) == 1)


def _residuals(graph: Graph, plan: Plan) -> None:
    depths = _depths(graph)
    for node in graph.nodes:
        if node.op_type != "Add" or len(graph.activations(node)) != 2:  # noqa: PLR2004
            continue
        fusable = [
            index for index, name in enumerate(node.input) if _is_branch(graph, plan, node, name)
        ]
        if fusable:
            # Of two convolutions, as where a shortcut changes the shape, the deeper is the branch.
            branch = max(fusable, key=lambda index: depths[node.input[index]])
            plan.add(node.input[1 - branch])


def _is_branch(graph: Graph, plan: Plan, add: NodeProto, tensor: str) -> bool:
    source = graph.producer(tensor)
    return (
        source is not None
        and source.op_type == "Conv"
        and source.name in plan.layers
        and graph.only_reader(tensor) is add
    )


def _depths(graph: Graph) -> dict[str, int]:
    """Return for each tensor the nodes on the longest way to it."""
    depths = dict.fromkeys(graph.inputs, 0)
    for node in graph.nodes:
        depth = 1 + max((depths.get(name, 0) for name in node.input), default=0)
        depths.update(dict.fromkeys(node.output, depth))
    return depths


def _concats(graph: Graph, plan: Plan) -> None:
    """Quantise what goes into a Concat whose output is read as INT8, all at one scale."""
    for node in reversed(graph.nodes):
        if node.op_type != "Concat" or any(graph.is_constant(name) for name in node.input):
            continue
        read = _quantised_behind(graph, plan, node.output[0])
        if not read:
            continue
        for tensor in [*node.input, *read[1:]]:
            plan.add(tensor)
            plan.share(tensor, read[0])


def _quantised_behind(graph: Graph, plan: Plan, tensor: str) -> list[str]:
    """Return the quantised tensors that are ``tensor`` but for copying."""
    found = [tensor] if tensor in plan.tensors else []
    for node, index in graph.readers(tensor):
        if index == 0 and node.op_type in PASSING:
            for output in node.output:
                found += _quantised_behind(graph, plan, output)
    return found


def _passing(graph: Graph, plan: Plan) -> None:
    """Where both sides of a pooling or a copy are quantised, they share one scale."""
    for node in graph.nodes:
        if node.op_type in PASSING and node.input[0] in plan.tensors:
            for output in node.output:
                for tensor in _quantised_behind(graph, plan, output):
                    plan.share(tensor, node.input[0])
