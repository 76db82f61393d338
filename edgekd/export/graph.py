"""Look things up in an ONNX graph: who makes a tensor, who reads it, what is constant."""

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # the operators that hold the arithmetic


class Graph:
    """An index of a model; it goes stale when nodes are added or removed: then make a new one."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.inputs = [value.name for value in model.graph.input]
        self.outputs = [value.name for value in model.graph.output]
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[tuple[NodeProto, int]]] = defaultdict(list)
        for node in self.nodes:
            for index, name in enumerate(node.input):
                if name:
                    self._readers[name].append((node, index))

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that computes ``tensor``; None: an input or a constant."""
        return self._producers.get(tensor)

    def readers(self, tensor: str) -> list[tuple[NodeProto, int]]:
        """Return the nodes that read ``tensor``, each with the index of its input."""
        return self._readers.get(tensor, [])

    def is_constant(self, tensor: str) -> bool:
        """Say whether ``tensor`` is an initialiser."""
        return tensor in self._constants

    def constant(self, tensor: str) -> NDArray[np.generic] | None:
        """Return the value of an initialiser; None: it is none."""
        found = self._constants.get(tensor)
        return None if found is None else numpy_helper.to_array(found)

    def only_reader(self, tensor: str) -> NodeProto | None:
        """Return the one node that reads ``tensor``; None: several, none, or a network output."""
        readers = self.readers(tensor)
        if len(readers) != 1 or tensor in self.outputs:
            return None
        return readers[0][0]

    def activations(self, node: NodeProto) -> list[str]:
        """Return the inputs of ``node`` that are computed from the images."""
        return [name for name in node.input if name and not self.is_constant(name)]


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute, or ``default`` where it is absent."""
    for found in node.attribute:
        if found.name == name:
            return onnx.helper.get_attribute_value(found)
    return default


def set_constant(model: ModelProto, name: str, value: NDArray[np.generic]) -> None:
    """Add an initialiser, or replace the one of that name."""
    tensor = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
    for existing in model.graph.initializer:
        if existing.name == name:
            existing.CopyFrom(tensor)
            return
    model.graph.initializer.append(tensor)


def replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Give the graph these nodes, in this order, and drop initialisers that none of them reads."""
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    read |= {value.name for value in model.graph.output}
    for index in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[index].name not in read:
            del model.graph.initializer[index]


def rename_input(node: NodeProto, old: str, new: str) -> None:
    """Let a node read ``new`` where it read ``old``."""
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new
