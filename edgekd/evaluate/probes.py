"""Look inside an ONNX file: which tensors it computes, and a file that gives some of them.

edgekd names tensors after PyTorch modules, "layer1.0.conv1/Conv", and the quantised form of one
ends in "/dequantised": both are the same tensor here, and its name without the ending is its key.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto, helper

from edgekd.core.errors import RecordError

_DEQUANTISED = "/dequantised"
_REAL = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
_ANY_BATCH = 1009  # a prime that no other side of a tensor has
_OUTPUT = "edgekd.probe"


@dataclass(frozen=True)
class Tensor:
    """Something that a network computes from its images."""

    name: str  # in the file
    layer: str  # the PyTorch module; where the file does not tell, the tensor's key
    operator: str
    kind: int  # of its numbers: a TensorProto.DataType
    shape: tuple[int, ...]  # without the batch

    @property
    def size(self) -> int:
        """Count its numbers for one image."""
        count = 1
        for side in self.shape:
            count *= side
        return count


class Network:
    """A model file with one input of images.

    Args:
        path: of the file.

    Raises:
        RecordError: the file, or one with its weights, cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._model = onnx.load(str(path))
        except (OSError, DecodeError, onnx.checker.ValidationError) as error:
            raise RecordError(f"'{path}' cannot be read with its weights: {error}") from error
        graph = self._model.graph
        constants = {tensor.name for tensor in graph.initializer}
        self._input = next(value for value in graph.input if value.name not in constants)
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self.tensors = self._find()  # by key, in the order in which they are computed
        self._keys = {tensor.name: key for key, tensor in self.tensors.items()}

    def before(self, key: str, known: Collection[str]) -> list[str]:
        """Return the nearest of the ``known`` tensors that ``key`` is computed from, in order."""
        found: set[str] = set()
        seen: set[str] = set()
        rest = list(_reads(self._makers[self.tensors[key].name]))
        while rest:
            name = rest.pop()
            if name in seen:
                continue
            seen.add(name)
            if self._keys.get(name) in known:
                found.add(self._keys[name])
            elif name in self._makers:
                rest += _reads(self._makers[name])
        return [other for other in self.tensors if other in found]

    def write(self, keys: Sequence[str], path: Path) -> None:
        """Write a model with one output: the tensors of ``keys``, flattened and side by side.

        It holds what they need and nothing else, and gives [N, sum of the sizes] in float32.
        """
        tensors = [self.tensors[key] for key in keys]
        needed = self._needed(tensor.name for tensor in tensors)
        nodes = [node for node in self._model.graph.node if needed.intersection(node.output)]
        parts = []
        for index, tensor in enumerate(tensors):
            parts.append(f"{_OUTPUT}/{index}")
            source = tensor.name
            if tensor.kind != TensorProto.FLOAT:
                source = f"{parts[-1]}/float"
                cast = helper.make_node("Cast", [tensor.name], [source], to=TensorProto.FLOAT)
                nodes.append(cast)
            nodes.append(helper.make_node("Flatten", [source], [parts[-1]], axis=1))
        nodes.append(helper.make_node("Concat", parts, [_OUTPUT], axis=1))
        total = sum(tensor.size for tensor in tensors)
        output = helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT, [None, total])
        probe = onnx.ModelProto()
        probe.CopyFrom(self._model)
        _replace(probe.graph, nodes, output)
        onnx.save(probe, str(path))

    def _needed(self, names: Iterator[str]) -> set[str]:
        needed: set[str] = set()
        rest = list(names)
        while rest:
            name = rest.pop()
            if name not in needed:
                needed.add(name)
                rest += _reads(self._makers[name]) if name in self._makers else ()
        return needed

    def _find(self) -> dict[str, Tensor]:
        """Find the tensors of real numbers that hold something of each image."""
        batch, values = self._infer()
        moving = {self._input.name}
        found: dict[str, Tensor] = {}
        for node in self._model.graph.node:
            if moving.isdisjoint(_reads(node)):
                continue
            moving.update(node.output)
            for name in node.output:
                type_ = values[name].type.tensor_type if name in values else None
                dims = list(type_.shape.dim) if type_ else []
                if type_ and dims and type_.elem_type in _REAL and dims[0].dim_value == batch:
                    shape = tuple(dim.dim_value for dim in dims[1:])
                    key = name.removesuffix(_DEQUANTISED)
                    if all(shape):
                        layer, operator = _words(key, node)
                        found[key] = Tensor(name, layer, operator, type_.elem_type, shape)
        return found

    def _infer(self) -> tuple[int, dict[str, ValueInfoProto]]:
        """Return the batch, a number of its own where it is free, and what is known of tensors."""
        dim = self._input.type.tensor_type.shape.dim[0]
        free = TensorShapeProto.Dimension()
        free.CopyFrom(dim)
        # A name would be lost in the first Reshape that infers the batch.
        dim.dim_value = dim.dim_value or _ANY_BATCH
        # Values stay unknown: with data_prop, a Range over all pixels is written out in memory.
        graph = onnx.shape_inference.infer_shapes(self._model).graph
        batch = int(dim.dim_value)
        dim.CopyFrom(free)
        return batch, {value.name: value for value in [*graph.value_info, *graph.output]}


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads; its branches and bodies too."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _words(key: str, node: NodeProto) -> tuple[str, str]:
    """Return module and operator."""
    module, _, operator = (key if "/" in key else node.name).rpartition("/")
    if node.op_type != "DequantizeLinear":
        operator = node.op_type
    return module or key, operator


def _replace(graph: GraphProto, nodes: list[NodeProto], output: ValueInfoProto) -> None:
    """Give a graph these nodes and this output, and drop the constants that none of them reads."""
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    read = {name for node in kept for name in _reads(node)}
    del graph.node[:], graph.output[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.output.append(output)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]
