"""Runtime, engine and inspector."""

import json
import math
from typing import Any

from ._callbacks import ENUMS, Dims, Reporter
from ._context import IExecutionContext
from ._facts import MAJOR, device_bytes, dla_cores
from ._inspect import layer_names, layers, tensors
from ._onnx import element_types
from ._plan import IHostMemory, PlanError, unpack
from ._pybind import Native
from ._session import open_session


class Runtime(Native):
    __slots__ = ("_report",)
    _DEFAULTS = {"max_threads": 1, "temporary_directory": "/tmp"}  # noqa: RUF012

    def _setup(self, logger: Any) -> None:
        self._report = Reporter(logger)

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return dla_cores()

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        """Return the engine, which keeps the runtime alive; None with an error in the log."""
        try:
            blob = bytes(memoryview(serialized_engine))
            settled, onnx_file = unpack(blob)
        except PlanError as error:
            self._report.error(f"deserializeCudaEngine: {error}", self)
            return None
        return ICudaEngine._make(self, blob, settled, onnx_file)


class ICudaEngine(Native):
    __slots__ = ("_io", "_model", "_plan", "_runtime", "_session", "_settled")

    def _setup(self, runtime: Any, plan: bytes, settled: dict[str, Any], onnx_file: bytes) -> None:
        import onnx

        self._runtime, self._plan, self._settled = runtime, plan, settled
        self._model = onnx.load_model_from_string(onnx_file)
        self._session = open_session(onnx_file)
        types, graph = element_types(), self._model.graph
        stored = {one.name for one in graph.initializer}
        inputs = [one for one in graph.input if one.name not in stored]
        shapes = {one.name: one.shape for one in self._session.get_inputs()}
        shapes |= {one.name: one.shape for one in self._session.get_outputs()}
        modes = ENUMS["TensorIOMode"]
        self._io = {
            one.name: (
                modes.INPUT if one in inputs else modes.OUTPUT,
                types[one.type.tensor_type.elem_type],
                tuple(size if isinstance(size, int) else -1 for size in shapes[one.name]),
            )
            for one in [*inputs, *graph.output]
        }

    def _inputs(self) -> list[str]:
        return [name for name, io in self._io.items() if io[0] == ENUMS["TensorIOMode"].INPUT]

    def _bytes_of(self, name: str, shape: Any) -> int:
        return math.prod(shape) * int(self._io[name][1].itemsize)

    @property
    def name(self) -> str:
        return str(self._settled["name"])

    @property
    def num_io_tensors(self) -> int:
        return len(self._io)

    @property
    def num_bindings(self) -> int:
        return len(self._io)

    def __len__(self) -> int:
        return len(self._io)

    def __getitem__(self, index: Any) -> Any:
        names = list(self._io)
        return names.index(index) if isinstance(index, str) else names[index]

    @property
    def num_layers(self) -> int:
        return len(layer_names(self._model))

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._settled["profiles"]))

    @property
    def num_aux_streams(self) -> int:
        return 0

    @property
    def refittable(self) -> bool:
        return False

    @property
    def profiling_verbosity(self) -> Any:
        return ENUMS["ProfilingVerbosity"](self._settled["verbosity"])

    def _needed_bytes(self) -> int:
        """Return the size of the weights, and of the inputs at their largest."""
        weights = sum(len(one.raw_data) for one in self._model.graph.initializer)
        largest = {name: self._largest(name) for name in self._inputs()}
        return weights + sum(self._bytes_of(name, shape) for name, shape in largest.items())

    @property
    def device_memory_size(self) -> int:
        return self._needed_bytes()

    @property
    def device_memory_size_v2(self) -> int:
        return self._needed_bytes()

    def _largest(self, name: str) -> tuple[int, ...]:
        shapes = [profile[name][2] for profile in self._settled["profiles"] if name in profile]
        return max(map(tuple, shapes), key=math.prod) if shapes else self._io[name][2]

    def get_tensor_name(self, index: int) -> str | None:
        names = list(self._io)
        return names[index] if 0 <= index < len(names) else None

    def get_tensor_mode(self, name: str) -> Any:
        return self._io[name][0] if name in self._io else ENUMS["TensorIOMode"].NONE

    def get_tensor_dtype(self, name: str) -> Any:
        return self._io[name][1] if name in self._io else ENUMS["DataType"].FLOAT

    def get_tensor_shape(self, name: str) -> Any:
        return Dims(self._io[name][2]) if name in self._io else Dims([])

    def get_tensor_location(self, name: str) -> Any:
        return ENUMS["TensorLocation"].DEVICE

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        return ENUMS["TensorFormat"].LINEAR

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        """Return min, opt and max; nothing where the tensor has no profile."""
        profiles = self._settled["profiles"]
        known = 0 <= profile_index < len(profiles) and name in profiles[profile_index]
        return [Dims(one) for one in profiles[profile_index][name]] if known else []

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def serialize(self) -> Any:
        return IHostMemory._make(self._plan)

    def create_engine_inspector(self) -> Any:
        return EngineInspector._make(self)

    def create_execution_context(self, *_strategy: Any) -> Any:
        """Return a context, which keeps the engine alive; None where memory is short."""
        if self._needed_bytes() > device_bytes():
            self._runtime._report.error(
                f"createExecutionContext: {self._needed_bytes()} bytes are needed, but the "
                f"device has {device_bytes()}: out of memory"
            )
            return None
        return IExecutionContext._make(self)


class EngineInspector(Native):
    __slots__ = ("_engine",)

    def _setup(self, engine: Any) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        found = layers(self._engine._model, self._engine.profiling_verbosity)
        if format != ENUMS["LayerInformationFormat"].JSON:
            return "\n".join(one if isinstance(one, str) else one["Name"] for one in found)
        if MAJOR < 11:
            return json.dumps({"Layers": found, "Bindings": list(self._engine._io)})
        return json.dumps({"Layers": found, "I/O Tensors": tensors(self._engine)})

    def get_layer_information(self, layer_index: int, format: Any) -> str:  # noqa: A002
        found = layers(self._engine._model, self._engine.profiling_verbosity)
        one = found[layer_index] if 0 <= layer_index < len(found) else ""
        return json.dumps(one) if format == ENUMS["LayerInformationFormat"].JSON else str(one)
