"""Read anybody's ONNX file, broken ones too, and look things up in its graph."""

import copy
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.core.errors import UsageError
from edgekd.lint import inference

Version = tuple[int, int]
Shape = list[int | None]

LARGEST = 2**31 - 1  # bytes of one protobuf message
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # the operators that hold the arithmetic
PAIRED = ("QuantizeLinear", "DequantizeLinear")


class Graph:
    """A model, seen by the rules: who makes and reads a tensor, what is constant, types, shapes.

    Args:
        model: the model; it is not changed.
        folder: where external data are looked for.
        labelled_int8: it is meant to be INT8, whatever it holds.
        dla: it is to run on the deep learning accelerator.
    """

    def __init__(
        self,
        model: ModelProto,
        folder: Path = Path(),
        *,
        labelled_int8: bool = False,
        dla: bool = False,
    ) -> None:
        self.model = model
        self.folder = folder
        self.dla = dla
        self.version: Version = (10, 3)
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.inputs = list(model.graph.input)
        self.outputs = [value.name for value in model.graph.output]
        self.initialisers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._constants = dict(self.initialisers)
        self._producers: dict[str, NodeProto] = {}
        self._readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            value = attribute(node, "value")
            if node.op_type == "Constant" and node.output and isinstance(value, TensorProto):
                self._constants[node.output[0]] = value
            self._producers.update({name: node for name in node.output if name})
            for name in dict.fromkeys(node.input):
                self._readers[name].append(node)
        self._values: dict[str, NDArray[Any] | None] = {}
        notes = {note.key: note.value for note in model.metadata_props}
        self.labelled_int8 = labelled_int8 or "int8" in notes.get("edgekd.target", "")

    def at(self, version: Version) -> "Graph":
        """Return the same graph, to be judged by another version of TensorRT."""
        _ = self._types  # inferred once for all versions
        same = copy.copy(self)
        same.version = version
        return same

    @cached_property
    def opset(self) -> int:
        """The version of the default operator set; 0: not given."""
        found = [entry.version for entry in self.model.opset_import if is_default(entry.domain)]
        return int(max(found, default=0))

    def of(self, *kinds: str) -> Iterator[NodeProto]:
        """Yield the nodes with one of these operators."""
        return (node for node in self.nodes if node.op_type in kinds)

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that computes ``tensor``; None: an input, an initialiser, or nobody."""
        return self._producers.get(tensor)

    def made_by(self, tensor: str, *kinds: str) -> NodeProto | None:
        """Return the node that computes ``tensor`` if it is one of these operators."""
        node = self.producer(tensor)
        return node if node is not None and node.op_type in kinds else None

    def readers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read ``tensor``, each once."""
        return self._readers.get(tensor, []) if tensor else []

    def only_reader(self, tensor: str) -> NodeProto | None:
        """Return the one node that reads ``tensor``; None: several, none, or a network output."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def is_constant(self, tensor: str) -> bool:
        """Say whether ``tensor`` is an initialiser or comes from a Constant node."""
        return tensor in self._constants or self.made_by(tensor, "Constant") is not None

    def constant(self, tensor: str) -> NDArray[Any] | None:
        """Return the value of a constant; None: it is none, or its data cannot be read."""
        if tensor not in self._values:
            self._values[tensor] = self._read(tensor)
        return self._values[tensor]

    def _read(self, tensor: str) -> NDArray[Any] | None:
        found = self._constants.get(tensor)
        if found is None or external_fault(found, self.folder):
            return None
        try:
            value: NDArray[Any] = numpy_helper.to_array(found, str(self.folder))
        except (
            ValueError, TypeError, KeyError, OSError, OverflowError, onnx.checker.ValidationError
        ):  # fmt: skip
            return None
        return value

    def numbers(self, tensor: str) -> NDArray[np.float64] | None:
        """Return a constant as float64, whatever its type; None as ``constant``, or if of words."""
        value = self.constant(tensor)
        return None if value is None or value.dtype.kind in "OSU" else value.astype(np.float64)

    def origin(self, tensor: str) -> str:
        """Return the tensor that ``tensor`` is, but for Q, DQ and Identity on the way."""
        for _ in self.nodes:  # not for ever, should they stand in a circle
            node = self.made_by(tensor, *PAIRED, "Identity")
            if node is None or self.is_constant(tensor):
                break
            tensor = given(node, 0)
        return tensor

    def weights_behind(self, tensor: str) -> str:
        """Return the constant that ``tensor`` is, but for Q, DQ and Identity; "": it is none."""
        origin = self.origin(tensor)
        return origin if self.is_constant(origin) else ""

    @property
    def inference_faults(self) -> str:
        """What ONNX's shape inference finds wrong, a line for each node; "": nothing."""
        return self._inference[1]

    @cached_property
    def _inference(self) -> tuple[ModelProto, str]:
        return inference.infer(self.model)

    @cached_property
    def _types(self) -> dict[str, tuple[int, Shape | None]]:
        graph = self._inference[0].graph
        types: dict[str, tuple[int, Shape | None]] = {}
        for value in [*graph.value_info, *graph.output, *graph.input]:
            kind = value.type.tensor_type
            if value.type.HasField("tensor_type"):
                sizes = [dim.dim_value if dim.HasField("dim_value") else None
                         for dim in kind.shape.dim]  # fmt: skip
                types[value.name] = (kind.elem_type, sizes if kind.HasField("shape") else None)
        for name, tensor in self._constants.items():
            types[name] = (tensor.data_type, list(tensor.dims))
        return types

    def dtype(self, tensor: str) -> int:
        """Return the element type as onnx counts it; 0 (UNDEFINED): not known."""
        return self._types.get(tensor, (0, None))[0]

    def shape(self, tensor: str) -> Shape | None:
        """Return the sizes, None where one is dynamic; None in all: not known."""
        return self._types.get(tensor, (0, None))[1]


def load(path: Path, *, labelled_int8: bool = False, dla: bool = False) -> Graph:
    """Read an ONNX file of up to 2 GiB, without its external data, which are read when needed.

    Raises:
        UsageError: there is no such file, it is too large, or it is no ONNX model.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UsageError(
                f"'{path}' has {size} bytes, and ONNX files end at {LARGEST}: "
                "save its weights as external data"
            )
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except (DecodeError, ValueError) as error:
        raise UsageError(f"'{path}' is not an ONNX model: {error}") from error
    if not model.graph.node and not model.graph.output:
        raise UsageError(f"'{path}' is not an ONNX model: it has neither nodes nor outputs")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise UsageError(f"'{path}' is not an ONNX model: a name in it is not UTF-8")
    return Graph(model, path.parent, labelled_int8=labelled_int8, dla=dla)


def _texts(message: Message) -> Iterator[str | bytes]:
    """Yield all strings in a message; protobuf gives those that are not UTF-8 as bytes."""
    if isinstance(message, TensorProto):  # leave its data alone, which may be large
        yield message.name
        for entry in message.external_data:
            yield from (entry.key, entry.value)
        return
    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes | Message) else value
        if field.type == field.TYPE_STRING:
            yield from values
        elif field.type == field.TYPE_MESSAGE:
            for inner in values:
                yield from _texts(inner)


def external_fault(tensor: TensorProto, folder: Path) -> str:
    """Say what is wrong with the place of a tensor's external data; "": nothing."""
    if tensor.data_location != TensorProto.EXTERNAL:
        return ""
    notes = {entry.key: entry.value for entry in tensor.external_data}
    place = notes.get("location", "")
    try:
        root = folder.resolve()
        file = (root / place).resolve()
        if not file.is_relative_to(root):
            return f"its data lie outside the model's folder, in '{place}'"
        if not file.is_file():  # the folder itself, where no place is given
            return f"its file '{place}' is missing"
        end = int(notes.get("offset", "0")) + int(notes.get("length", "0"))
        short = end > file.stat().st_size
    except (OSError, ValueError, RuntimeError) as error:
        return f"its place '{place}' cannot be read ({error})"
    return f"its file '{place}' has fewer than {end} bytes" if short else ""


def is_default(domain: str) -> bool:
    """Say whether a domain is that of ONNX's own operators."""
    return domain in {"", "ai.onnx"}


def given(node: NodeProto, index: int) -> str:
    """Return the name of an input; "": left out."""
    return str(node.input[index]) if index < len(node.input) else ""


def made(node: NodeProto) -> str:
    """Return the name of the first output; "": there is none."""
    return str(node.output[0]) if node.output else ""


def name_of(node: NodeProto) -> str:
    """Return the name of a node, or of what it computes if it has none."""
    return node.name or f"{node.op_type} of {made(node) or 'nothing'}"


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute; ``default`` where it is absent or of another type."""
    for found in node.attribute:
        if found.name == name:
            try:
                value = onnx.helper.get_attribute_value(found)
            except ValueError:
                return default
            fits = default is None or isinstance(value, type(default))
            return value if fits else default
    return default


def everywhere(holder: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph or function, and those of the graphs inside them."""
    for node in holder.node:
        yield node
        for found in node.attribute:
            for inner in [*([found.g] if found.HasField("g") else []), *found.graphs]:
                yield from everywhere(inner)
