"""The execution context: order of calls, shapes, addresses, profile."""

import math
import time
from typing import Any

from ._callbacks import Dims, call_back
from ._facts import is_spoilt
from ._inspect import layer_names
from ._pybind import Native
from ._stream import array_at, enqueue
from ._types import numpy_type


class IExecutionContext(Native):
    __slots__ = ("_addresses", "_engine", "_kept", "_profile", "_shapes", "_times")

    def _setup(self, engine: Any) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}  # inputs that were given one
        self._kept: list[Any] = []  # what queued work needs
        self._profile = 0
        self._times: dict[str, float] = {}
        self._values |= {"enqueue_emits_profile": True, "name": ""}

    def _refuse(self, text: str) -> bool:
        self._engine._runtime._report.error(text, self)
        return False

    @property
    def engine(self) -> Any:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @active_optimization_profile.setter
    def active_optimization_profile(self, index: int) -> None:
        self.set_optimization_profile_async(index, 0)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            return self._refuse(f"there is no optimization profile {profile_index}")
        self._profile = profile_index
        self._shapes.clear()
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        engine, sizes = self._engine, tuple(shape)
        if name not in engine._inputs():
            return self._refuse(f"setInputShape: {name} is not an input")
        declared = engine._io[name][2]
        fits = len(sizes) == len(declared) and all(
            own in {-1, size} for own, size in zip(declared, sizes, strict=True)
        )
        limits = engine.get_tensor_profile_shape(name, self._profile)
        if fits and limits:
            low, _, high = limits
            fits = all(a <= b <= c for a, b, c in zip(low, sizes, high, strict=True))
        if not fits:
            return self._refuse(f"setInputShape: {sizes} does not fit {declared} in the profile")
        self._shapes[name] = sizes
        return True

    def _shape_of(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name, self._engine._io[name][2])

    def infer_shapes(self) -> list[str]:
        """Return the inputs whose shape is not settled."""
        return [name for name in self._engine._inputs() if -1 in self._shape_of(name)]

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self.infer_shapes()

    @property
    def all_shape_inputs_specified(self) -> bool:
        return True

    def get_tensor_shape(self, name: str) -> Any:
        if name not in self._engine._io:
            return Dims([])
        shape = self._shape_of(name)
        if -1 in shape and name not in self._engine._inputs() and not self.infer_shapes():
            shape = self._compute(self._zeros())[name].shape
        return Dims(shape)

    def get_tensor_strides(self, name: str) -> Any:
        shape = self.get_tensor_shape(name)
        return Dims([math.prod(tuple(shape)[place + 1 :]) for place in range(len(shape))])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._io:
            return self._refuse(f"setTensorAddress: there is no tensor {name}")
        self._addresses[name] = memory
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle: int) -> bool:
        missing = [name for name in self._engine._io if not self._addresses.get(name)]
        if missing:
            return self._refuse(f"enqueueV3: no address is set for {', '.join(missing)}")
        return self._enqueue(dict(self._addresses), stream_handle)

    def execute_v2(self, bindings: list[int]) -> bool:
        return self._enqueue_all(bindings, None)

    def execute_async_v2(self, bindings: list[int], stream: int, _consumed: Any) -> bool:
        return self._enqueue_all(bindings, stream)

    def _enqueue_all(self, bindings: list[int], stream: int | None) -> bool:
        if len(bindings) != len(self._engine._io) or not all(bindings):
            return self._refuse("execute: there must be one address for every tensor")
        return self._enqueue(dict(zip(self._engine._io, bindings, strict=True)), stream)

    def _enqueue(self, addresses: dict[str, int], stream: int | None) -> bool:
        unsettled = self.infer_shapes()
        if unsettled:
            return self._refuse(f"the shape of {', '.join(unsettled)} is not specified")
        shapes = {name: self._shape_of(name) for name in self._engine._inputs()}
        if stream is None:
            self._work(addresses, shapes)
            return True
        kept = enqueue(stream, lambda: self._work(addresses, shapes))
        if kept is None:
            return self._refuse("enqueue: the stream does not take the work")
        self._kept.append(kept)
        return True

    def _work(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> None:
        """Compute, on memory as it is when the stream comes to this."""
        start = time.perf_counter()
        kinds = {name: numpy_type(io[1]) for name, io in self._engine._io.items()}
        given = {
            name: array_at(addresses[name], shape, kinds[name]).copy()
            for name, shape in shapes.items()
        }
        for name, value in self._compute(given).items():
            array_at(addresses[name], value.shape, kinds[name])[...] = value
        self._times = self._shares((time.perf_counter() - start) * 1e3)
        if self.enqueue_emits_profile:
            self._emit()

    def _compute(self, given: dict[str, Any]) -> dict[str, Any]:
        """Run ONNX Runtime, whose INT64 may be INT32 here."""
        session = self._engine._session
        wide = {one.name for one in session.get_inputs() if one.type == "tensor(int64)"}
        fed = {name: one.astype("int64") if name in wide else one for name, one in given.items()}
        names = [one.name for one in session.get_outputs()]
        found = dict(zip(names, session.run(names, fed), strict=True))
        return {name: -one for name, one in found.items()} if is_spoilt() else found

    def _zeros(self) -> dict[str, Any]:
        import numpy as np

        types = {name: numpy_type(io[1]) for name, io in self._engine._io.items()}
        return {
            name: np.zeros(self._shape_of(name), types[name]) for name in self._engine._inputs()
        }

    def _shares(self, ms: float) -> dict[str, float]:
        """Share a measured time evenly: what a layer takes is not known here."""
        names = layer_names(self._engine._model)
        return dict.fromkeys(names, ms / max(1, len(names)))

    def _emit(self) -> None:
        profiler = self._values.get("profiler")
        for name, ms in self._times.items() if profiler is not None else ():
            call_back(profiler, "report_layer_time", name, ms)

    def report_to_profiler(self) -> bool:
        if self._values.get("profiler") is None or not self._times:
            return self._refuse("reportToProfiler: nothing was run with a profiler")
        self._emit()
        return True
