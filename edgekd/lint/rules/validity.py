"""T012: the graph is one that ONNX itself allows."""

import re
from collections.abc import Iterator

import onnx
from onnx import NodeProto

from edgekd.lint.model import Graph, given, is_default
from edgekd.lint.rule import Hit, at, rule

_FAULT = re.compile(r"\(op_type:\w*, node name: (?P<node>.*)\): \[\w+\] (?P<text>.+)")
_NOTED = "existing"  # the file's own note of a size or type is wrong; the parser infers its own
_FOLLOWS = "instead is null"  # from a fault in a node before it


@rule(
    "T012", "Nodes have their inputs, and sizes and types fit", "error",
    why="ONNX forbids it, so no parser can build the network.",
    source="ONNX operator specification, shape inference",
    fix="Export again; a file that was cut or edited may have lost nodes.",
)  # fmt: skip
def graph_is_valid(graph: Graph) -> Iterator[Hit]:
    """Yield nodes that read what nobody makes, lack inputs, or whose operands do not fit."""
    known = {value.name for value in graph.inputs} | set(graph.initialisers)
    known |= {tensor.values.name for tensor in graph.model.graph.sparse_initializer}
    for node in graph.nodes:
        for name in dict.fromkeys(node.input):
            if name and name not in known and graph.producer(name) is None:
                yield at(node, f"reads '{name}', which nothing in the graph makes", None, name)
        needed = _inputs_needed(node, graph.opset)
        present = sum(bool(given(node, index)) for index in range(needed))
        if present < needed:
            yield at(node, f"{node.op_type} has {present} of the {needed} inputs that it needs")
    for name in graph.outputs:
        if name and name not in known and graph.producer(name) is None:
            yield Hit("an output that nothing in the graph makes", tensor=name)
    for fault in _FAULT.finditer(graph.inference_faults):
        noted = _NOTED in fault["text"]
        if _FOLLOWS not in fault["text"]:
            yield Hit(fault["text"].strip(), fault["node"], severity="warning" if noted else None)


def _inputs_needed(node: NodeProto, opset: int) -> int:
    """Return how many inputs an operator cannot do without; 0: it is not known."""
    if not is_default(node.domain):
        return 0
    try:
        return int(onnx.defs.get_schema(node.op_type, opset).min_input)
    except (onnx.defs.SchemaError, TypeError):  # an opset beyond 32 bits
        return 0
