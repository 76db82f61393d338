"""What is to be quantised: the answer of a form's rules, before any range is known."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from onnx import ModelProto, NodeProto

from edgekd.export.graph import WEIGHTED, Graph
from edgekd.export.names import module_of
from edgekd.export.target import Quantise
from edgekd.export.tidy import weight_axis

# They move values and compute none: what goes in at one scale comes out at the same.
PASSING = (
    "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split",
    "Gather", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip


@dataclass
class Plan:
    """Which tensors are written in 8 bits, and which nodes read them so.

    Each tensor has one pair of Q and DQ behind it, and all that read it read the DQ.
    """

    tensors: list[str] = field(default_factory=list)  # in the order of the graph
    layers: dict[str, int | None] = field(default_factory=dict)  # node -> axis of its weight
    absorbed: set[str] = field(default_factory=set)  # activations that the clamp of Q computes
    _shared: dict[str, str] = field(default_factory=dict)

    def add(self, tensor: str) -> None:
        """Quantise a tensor."""
        if tensor not in self.tensors:
            self.tensors.append(tensor)

    def share(self, one: str, other: str) -> None:
        """Give two tensors one scale."""
        self._shared[self.root(one)] = self.root(other)

    def root(self, tensor: str) -> str:
        """Return the tensor that stands for all that share its scale."""
        while tensor in self._shared and self._shared[tensor] != tensor:
            tensor = self._shared[tensor]
        return tensor

    def groups(self) -> dict[str, list[str]]:
        """Return the quantised tensors that share a scale, by the one that stands for them."""
        groups: dict[str, list[str]] = {}
        for tensor in self.tensors:
            groups.setdefault(self.root(tensor), []).append(tensor)
        return groups


def layers(graph: Graph, rules: Quantise) -> dict[str, int | None]:
    """Return the weighted nodes that the rules let quantise, with the axis of their weights."""
    last = last_layer(graph)
    found: dict[str, int | None] = {}
    for node in graph.nodes:
        axis = weight_axis(graph, node) if node.op_type in WEIGHTED else None
        if axis is None or (node is last and not rules.last_linear):
            continue
        if not any(fnmatchcase(module_of(node.name), glob) for glob in rules.keep_float):
            found[node.name] = axis
    return found


def last_layer(graph: Graph) -> NodeProto | None:
    """Return the weighted node nearest to the logits."""
    weighted = [node for node in graph.nodes if node.op_type in WEIGHTED]
    return weighted[-1] if weighted else None


def unknown_globs(graph: Graph, rules: Quantise) -> list[str]:
    """Return the globs of ``keep_float`` that match no layer."""
    modules = [module_of(node.name) for node in graph.nodes if node.op_type in WEIGHTED]
    return [glob for glob in rules.keep_float if not any(fnmatchcase(m, glob) for m in modules)]


def count_layers(model: ModelProto) -> tuple[int, int]:
    """Count weighted nodes in a written graph: those that read DQ on both sides, and the others."""
    graph = Graph(model)
    quantised = floating = 0
    for node in graph.nodes:
        if node.op_type not in WEIGHTED:
            continue
        sources = [graph.producer(name) for name in node.input[:2]]
        if all(source and source.op_type == "DequantizeLinear" for source in sources):
            quantised += 1
        else:
            floating += 1
    return quantised, floating
