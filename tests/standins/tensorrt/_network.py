"""Networks and the ONNX parser. The graph is kept as ONNX; layers are its nodes."""

from pathlib import Path
from typing import Any

from ._callbacks import ENUMS, Dims, Reporter
from ._facts import MAJOR
from ._onnx import element_types, fault_of, supported
from ._pybind import Native


class ITensor(Native):
    __slots__ = ("_network", "_proto")

    def _setup(self, network: Any, proto: Any) -> None:
        self._network, self._proto = network, proto

    @property
    def name(self) -> str:
        return str(self._proto.name)

    @property
    def shape(self) -> Any:
        sizes = self._proto.type.tensor_type.shape.dim
        return Dims([one.dim_value if one.HasField("dim_value") else -1 for one in sizes])

    @property
    def dtype(self) -> Any:
        return element_types()[self._proto.type.tensor_type.elem_type]

    @property
    def is_network_input(self) -> bool:
        return self.name in {one.name for one in self._network._inputs}

    @property
    def is_network_output(self) -> bool:
        return self.name in {one.name for one in self._network._graph.output}


class ILayer(Native):
    __slots__ = ("_network", "_node")

    def _setup(self, network: Any, node: Any) -> None:
        self._network, self._node = network, node

    @property
    def name(self) -> str:
        return str(self._node.name or self._node.output[0])

    @property
    def num_inputs(self) -> int:
        return len(self._node.input)

    @property
    def num_outputs(self) -> int:
        return len(self._node.output)

    @property
    def metadata(self) -> str:
        return f"[ONNX Layer: {self.name}]"


class INetworkDefinition(Native):
    __slots__ = ("_flags", "_folder", "_inputs", "_model", "_report")

    def _setup(self, flags: int, report: Reporter) -> None:
        import onnx

        self._flags, self._report = flags, report
        self._take(onnx.ModelProto())
        self._values["name"] = "Unnamed Network 0"

    def _take(self, model: Any) -> None:
        self._model = model
        stored = {one.name for one in model.graph.initializer}
        self._inputs = [one for one in model.graph.input if one.name not in stored]

    @property
    def _graph(self) -> Any:
        return self._model.graph

    def _has(self, flag: str) -> bool:
        known = getattr(ENUMS["NetworkDefinitionCreationFlag"], flag, None)
        return known is not None and bool(self._flags >> int(known) & 1)

    @property
    def _strong(self) -> bool:
        return MAJOR >= 11 or self._has("STRONGLY_TYPED")

    @property
    def flags(self) -> int:
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    @property
    def has_implicit_batch_dimension(self) -> bool:
        return MAJOR < 10 and not self._has("EXPLICIT_BATCH")

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._graph.output)

    @property
    def num_layers(self) -> int:
        return len(self._graph.node)

    def get_input(self, index: int) -> Any:
        return self._at(ITensor, self._inputs, index)

    def get_output(self, index: int) -> Any:
        return self._at(ITensor, self._graph.output, index)

    def get_layer(self, index: int) -> Any:
        return self._at(ILayer, self._graph.node, index)

    def _at(self, kind: Any, protos: Any, index: int) -> Any:
        return kind._make(self, protos[index]) if 0 <= index < len(protos) else None


class ParserError(Native):
    __slots__ = ("_code", "_desc", "_name", "_node", "_operator")

    def _setup(self, code: str, desc: str, node: int, name: str, operator: str) -> None:
        self._code, self._desc, self._node = code, desc, node
        self._name, self._operator = name, operator

    def code(self) -> Any:
        # 8.x has fewer codes: the same faults are unsupported or invalid nodes there.
        names = (self._code, self._code.partition("_NODE")[0] + "_NODE")
        return next(found for one in names if (found := getattr(ENUMS["ErrorCode"], one, None)))

    def desc(self) -> str:
        return self._desc

    def file(self) -> str:
        return "the stand-in"

    def func(self) -> str:
        return "parse"

    def line(self) -> int:
        return 0

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def local_function_stack(self) -> list[str]:
        return []

    def __repr__(self) -> str:
        return f"In node {self._node}: {self.code().name}: {self._desc}"


class OnnxParser(Native):
    __slots__ = ("_errors", "_network", "_report")

    def _setup(self, network: Any, logger: Any) -> None:
        self._network, self._report = network, Reporter(logger)
        self._errors: list[Any] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors.clear()

    def set_flag(self, flag: Any) -> None:
        self.flags = self.flags | 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags = self.flags & ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def supports_operator(self, op_name: str) -> bool:
        return supported(op_name)

    def parse_from_file(self, model: str) -> bool:
        """The only way that finds weights in files of their own."""
        if not Path(model).is_file():
            return self._fail("MODEL_DESERIALIZE_FAILED", f"Failed to open file: {model}")
        return self._parse(Path(model).read_bytes(), Path(model).parent)

    def parse(self, model: Any, path: str | None) -> bool:
        return self._parse(bytes(model), Path(path).parent if path else None)

    def _parse(self, blob: bytes, folder: Path | None) -> bool:
        from google.protobuf.message import DecodeError
        from onnx import ModelProto, checker, external_data_helper, shape_inference

        if self._network.num_layers:
            return self._fail("INVALID_GRAPH", "the network has been filled already")
        if self._network.has_implicit_batch_dimension:
            return self._fail("INVALID_VALUE", "the network has to be made with EXPLICIT_BATCH")
        proto = ModelProto()
        try:
            proto.ParseFromString(blob)
            if folder is not None:
                external_data_helper.load_external_data_for_model(proto, str(folder))
            checker.check_model(proto)
            proto = shape_inference.infer_shapes(proto)
        except (DecodeError, checker.ValidationError, OSError, ValueError) as error:
            return self._fail("MODEL_DESERIALIZE_FAILED", str(error).splitlines()[0])
        for index, node in enumerate(proto.graph.node):
            fault = fault_of(node, proto.graph)
            if fault:
                self._fail(fault.code, fault.text, index, node.name, node.op_type)
        if not self._errors:
            self._network._take(proto)
        return not self._errors

    def _fail(self, code: str, text: str, node: int = -1, name: str = "", op: str = "") -> bool:
        self._errors.append(ParserError._make(code, text, node, name, op))
        self._report.error(f"[stand-in parser] node {node} [{op}] '{name}': {text}")
        return False
