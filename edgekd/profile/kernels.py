"""Which kernels TensorRT is expected to make of an ONNX graph, and how many bytes each moves.

A convolution takes bias, batch normalisation, a residual addition and an activation into its own
kernel; chains of element-wise layers are one kernel; Q and DQ become part of their neighbours.
Shapes are inferred, weights are not read.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import NodeProto, TensorProto, helper

from edgekd.core.errors import UsageError
from edgekd.core.estimate import Precision
from edgekd.profile import shapes

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_VIEWS = ("Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")  # no work
_QDQ = ("QuantizeLinear", "DequantizeLinear")
_MOVERS = ("Concat", "Slice", "Split", "Transpose", "Pad")  # TensorRT often does without them
_POINTWISE = (
    "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf",
    "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish",
    "Tanh", "Softplus", "Gelu", "Mish", "BatchNormalization",
)  # fmt: skip
_EPILOGUE = ("Add", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "BatchNormalization")
_INDICES = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)  # sizes and the like
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass
class Kernel:
    """One launch on the GPU; sizes are of the whole batch."""

    names: list[str]
    operator: str
    precision: Precision
    macs: int = 0
    bytes: int = 0  # read and written, weights too
    grouped: bool = False  # runs on the plain cores, not on the tensor cores

    @property
    def name(self) -> str:
        """Return the nodes' names as TensorRT joins them."""
        return " + ".join(self.names)

    @property
    def elidable(self) -> bool:
        """Say whether it only moves values, which TensorRT can often do without."""
        return self.operator in _MOVERS


def read(path: Path, batch: int, precision: Precision | None = None) -> list[Kernel]:
    """Return the kernels of an ONNX file, in the order of its nodes.

    Args:
        path: the file; external weights need not be there.
        batch: images at once, >= 1.
        precision: of every layer, whatever the file says; None: as the file says.

    Raises:
        UsageError: it cannot be read, takes another batch, or has shapes that cannot be inferred.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise UsageError(f"'{path}' is not an ONNX file: {error}") from error
    _set_batch(model, batch, path)
    return _Fuser(shapes.inferred(model, path), path, precision).kernels()


def main_precision(path: Path, batch: int) -> Precision | None:
    """Return the precision of most of a file's arithmetic; None: it has none. See ``read``."""
    macs: dict[Precision, int] = {}
    for kernel in read(path, batch):
        macs[kernel.precision] = macs.get(kernel.precision, 0) + kernel.macs
    return max(macs, key=lambda name: macs[name], default=None)


def _set_batch(model: onnx.ModelProto, batch: int, path: Path) -> None:
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in constants or not dims:
            continue
        fixed = dims[0].dim_value
        if fixed not in (0, batch):
            raise UsageError(
                f"'{path}' takes a batch of {fixed}, not {batch}: export it with a free batch, or "
                f"give --batch {fixed}"
            )
        dims[0].dim_value = batch
    del model.graph.value_info[:]  # of another batch, perhaps
    for value in model.graph.output:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].Clear()


@dataclass
class _Fuser:
    """Goes through the nodes once and gives each to a kernel."""

    model: onnx.ModelProto
    path: Path
    forced: Precision | None
    found: list[Kernel] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.constants = {tensor.name for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        self.types: dict[str, int] = {t.name: t.data_type for t in graph.initializer}
        self.shapes: dict[str, list[int]] = {t.name: list(t.dims) for t in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self.shapes[value.name] = [
                    dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim
                ]
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.readers[name].append(node)
        self.maker: dict[str, Kernel] = {}  # tensor -> the kernel that writes it

    def kernels(self) -> list[Kernel]:
        for node in self.model.graph.node:
            if not node.output:
                continue
            inputs = [name for name in node.input if name and name not in self.constants]
            if node.op_type in ("Constant", "Shape", "Size") or not inputs:
                self.constants.update(node.output)  # known when the engine is built
            elif node.op_type in _QDQ or node.op_type in _VIEWS:
                self._pass(node)
            elif host := self._host(node, inputs):
                self._join(host, node, inputs)
            else:
                self._start(node, inputs)
        return self.found

    def _pass(self, node: NodeProto) -> None:
        """Let a view, Q or DQ through; of the network's input, a Q is a kernel of its own."""
        source, target = node.input[0], node.output[0]
        maker = self.maker.get(source)
        if maker is not None:
            self.maker[target] = maker
        elif node.op_type in ("QuantizeLinear", "Cast") and self._is_image(source):
            size = self._elements(source, node)
            made = Kernel([_name(node)], node.op_type, "int8" if node.op_type in _QDQ else "fp16")
            made.bytes = size * (self._width(source) + self._width(target))
            self.found.append(made)

    def _host(self, node: NodeProto, inputs: list[str]) -> Kernel | None:
        """Return the kernel that takes a node as its last step; None: it begins one."""
        if node.op_type not in _POINTWISE:
            return None
        hosts = []
        for name in inputs:
            kernel = self.maker.get(name)
            if kernel is None or not self._ends_in(name, node):
                continue
            weighted = kernel.operator in _WEIGHTED
            if (weighted and node.op_type in _EPILOGUE) or kernel.operator in _POINTWISE:
                hosts.append(kernel)
        return max(hosts, key=self.found.index, default=None)

    def _ends_in(self, tensor: str, reader: NodeProto) -> bool:
        """Say whether nobody else reads a tensor, nor what it is a view of."""
        while tensor not in self.outputs and self.readers[tensor] == [reader]:
            node = self.producers.get(tensor)
            if node is None or node.op_type not in (*_VIEWS, *_QDQ):
                return True
            tensor, reader = node.input[0], node
        return False

    def _join(self, host: Kernel, node: NodeProto, inputs: list[str]) -> None:
        """Add a node to a kernel: its other inputs are read, too; what lay between is not."""
        host.names.append(_name(node))
        mine = [name for name in inputs if self.maker.get(name) is host]
        host.bytes -= sum(self._written(self._origin(name), node) for name in mine)
        host.bytes += sum(self._read(name, node) for name in inputs if name not in mine)
        self._finish(host, node)

    def _start(self, node: NodeProto, inputs: list[str]) -> None:
        kernel = Kernel([_name(node)], node.op_type, self._precision(node))
        weights = [name for name in node.input[1:] if name and name not in inputs]
        if node.op_type in _WEIGHTED:
            # A quantised weight is a constant behind Q and DQ; nothing of it is computed.
            kernel.macs = self._macs(node)
            kernel.grouped = _attribute(node, "group", 1) > 1
        kernel.bytes = sum(self._read(name, node) for name in inputs)
        kernel.bytes += sum(self._weight(name, kernel.precision) for name in weights)
        self.found.append(kernel)
        self._finish(kernel, node)

    def _finish(self, kernel: Kernel, node: NodeProto) -> None:
        for name in node.output:
            if name and (self.readers[name] or name in self.outputs):
                self.maker[name] = kernel
                kernel.bytes += self._written(name, node)

    def _precision(self, node: NodeProto) -> Precision:
        if self.forced is not None:
            return self.forced
        sources = node.input[:2] if node.op_type in _WEIGHTED else node.input[:1]
        if all(self._behind_dq(name) for name in sources):
            return "int8"
        return "fp16" if self.types.get(node.output[0]) == TensorProto.FLOAT16 else "fp32"

    def _behind_dq(self, tensor: str) -> bool:
        node = self.producers.get(tensor)
        while node is not None and node.op_type in _VIEWS:
            node = self.producers.get(node.input[0])
        return node is not None and node.op_type == "DequantizeLinear"

    def _origin(self, tensor: str) -> str:
        """Return the tensor behind views, Q and DQ."""
        node = self.producers.get(tensor)
        while node is not None and node.op_type in (*_VIEWS, *_QDQ):
            tensor = node.input[0]
            node = self.producers.get(tensor)
        return tensor

    def _read(self, tensor: str, node: NodeProto) -> int:
        width = 1 if self._behind_dq(tensor) else self._width(tensor)
        return self._elements(tensor, node) * width

    def _written(self, tensor: str, node: NodeProto) -> int:
        """Return the bytes of an output: one each if only Q reads it, and both if others do."""
        quantised = [reader.op_type == "QuantizeLinear" for reader in self.readers[tensor]]
        plain = not quantised or not all(quantised) or tensor in self.outputs
        width = (self._width(tensor) if plain else 0) + any(quantised)
        return self._elements(tensor, node) * (width if self.forced is None else self._width(""))

    def _weight(self, tensor: str, precision: Precision) -> int:
        if self.types.get(tensor) in _INDICES:
            return 0
        return prod(self.shapes.get(self._origin(tensor), [0])) * _BYTES[precision]

    def _width(self, tensor: str) -> int:
        if self.forced is not None:
            return _BYTES[self.forced]
        kind = self.types.get(tensor, TensorProto.FLOAT)
        return int(helper.tensor_dtype_to_np_dtype(kind).itemsize) if kind else 4

    def _elements(self, tensor: str, node: NodeProto) -> int:
        shape = self.shapes.get(tensor)
        if shape is None or min(shape, default=1) < 0:
            raise UsageError(
                f"the shape of '{tensor}' at node '{_name(node)}' of '{self.path}' cannot be "
                "inferred: export the model with sizes that are fixed but for the batch"
            )
        return prod(shape)

    def _is_image(self, tensor: str) -> bool:
        return tensor not in self.producers

    def _macs(self, node: NodeProto) -> int:
        weight = self.shapes.get(self._origin(node.input[1]), [])
        if node.op_type == "MatMul":
            return self._elements(node.output[0], node) * (weight[-2] if len(weight) > 1 else 1)
        if node.op_type == "Gemm":
            inner = weight[1] if _attribute(node, "transB", 0) else weight[0]
            return self._elements(node.output[0], node) * inner
        # [out, in / groups, kernel], of a transposed one [in, out / groups, kernel]
        reader = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
        return self._elements(reader, node) * prod(weight[1:])


def _name(node: NodeProto) -> str:
    return node.name or f"node_of_{node.output[0]}"


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((entry.i for entry in node.attribute if entry.name == name), default)
