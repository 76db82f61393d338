"""TensorRT on the GPU."""

from __future__ import annotations

import atexit
from typing import Any, Dict, List, Optional, Tuple

from .. import cuda, plan
from ..cuda.memory import Meter
from ..protocol import AgentError
from . import tensorrt_build
from .tensorrt_native import described, deserialised, native_logger

DISTRIBUTIONS = (
    "tensorrt",
    *("tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    *("tensorrt-cu13-bindings", "tensorrt-cu12-bindings", "tensorrt-cu11-bindings"),
)


def load_runtime() -> None:
    """Import TensorRT.

    Raises:
        ImportError: it is missing.
    """
    import tensorrt  # noqa: F401


def build(request: Dict[str, Any]) -> Dict[str, Any]:
    """Build and write a plan; see ``edgekd.agent.build``.

    Raises:
        AgentError: TensorRT refuses the file or the request.
    """
    import tensorrt

    return tensorrt_build.build(tensorrt, request)


def open_model(path: str, threads: int) -> TensorRTModel:  # noqa: ARG001  the GPU has its own
    """Open a plan that ``build`` wrote on a machine like this one.

    Raises:
        AgentError: it is missing, was changed, is of another TensorRT or GPU, or takes no images.
    """
    import tensorrt

    content, record = plan.load(path, tensorrt.__version__)
    opened = cuda.open_cuda()
    try:
        _check_gpu(path, record, opened.gpu())
        return TensorRTModel(tensorrt, content, record, opened, path)
    except BaseException:
        opened.close()
        raise


def _check_gpu(path: str, record: Dict[str, Any], here: Dict[str, str]) -> None:
    there = record["gpu"]
    for key in ("name", "compute_capability"):
        if there[key] != here[key]:
            raise AgentError(
                "model",
                "'%s' was built for the GPU '%s' (%s), but here is '%s' (%s): build it again on "
                "this machine"
                % (
                    path,
                    *(there["name"], there["compute_capability"]),
                    *(here["name"], here["compute_capability"]),
                ),
            )


class _Tensor:
    """An input or output: its name, its NumPy type, and where it lies."""

    def __init__(self, trt: Any, engine: Any, name: str, path: str) -> None:
        import numpy as np

        self.name = name
        kind = engine.get_tensor_dtype(name)
        try:
            self.dtype = np.dtype(trt.nptype(kind))
        except TypeError as error:  # BF16, FP8, FP4
            raise AgentError(
                "model", "'%s' has the tensor '%s' of %s, which NumPy lacks" % (path, name, kind)
            ) from error
        self.shape: Tuple[int, ...] = tuple(engine.get_tensor_shape(name))
        self.host: Any = None
        self.address = 0

    def place(self, gpu: cuda.Cuda, shape: Tuple[int, ...]) -> None:
        """Take memory for a shape, here and on the GPU."""
        if self.address:
            gpu.free(self.address)
            gpu.unpin(self.host)
            self.address = 0
        self.host = gpu.pinned(shape, self.dtype)
        self.address = gpu.alloc(self.host.nbytes)


class TensorRTModel:
    """An engine with one input of images and one output; see ``Model``.

    Args:
        trt: the module ``tensorrt``.
        content: the plan.
        record: of the plan, from the JSON beside it.
        gpu: where it runs; closed with the model.
        path: of the plan, for messages.

    ``run`` copies the images to the GPU, infers, and copies the output back: as one CUDA graph
    where that can be captured, as ``engine`` says. ``computed_ms`` leaves the copies out.
    """

    def __init__(
        self, trt: Any, content: bytes, record: Dict[str, Any], gpu: cuda.Cuda, path: str
    ) -> None:
        self._trt, self._gpu, self._path = trt, gpu, path
        self._meter = Meter(gpu)
        self._logger = native_logger(trt)
        dla_core = record["asked"]["dla_core"]
        self._runtime, self._engine = deserialised(trt, self._logger, content, dla_core)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._fault("there is no context for '%s'" % path, "too little memory on the GPU")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        modes = trt.TensorIOMode
        self._input = self._only(names, modes.INPUT, "input")
        self._output = self._only(names, modes.OUTPUT, "output")
        if len(self._input.shape) != len("NCHW"):
            raise AgentError(
                "model",
                "'%s' takes an input of shape %s, but images have four dimensions: N, C, H, W"
                % (path, list(self._input.shape)),
            )
        self.input_shape: Tuple[Optional[int], ...] = tuple(
            size if size >= 0 else None for size in self._input.shape
        )
        self.batches: Tuple[int, Optional[int]] = self._batches()
        self._shape: Optional[Tuple[int, ...]] = None  # of the images that memory is ready for
        self._graph: Any = None
        self._inner: Any = None  # the graph without copies
        self._name = "tensorrt %s, %s" % (trt.__version__, gpu.name)
        self.engine = self._name
        atexit.register(self.close)

    def infer(self, images_nchw: Any) -> Any:
        """Return the output for one batch, float32."""
        import numpy as np

        self._fill(images_nchw)
        self._enqueue()
        self._gpu.synchronise()
        return self._output.host.astype(np.float32)

    def bind(self, images_nchw: Any) -> None:
        """Fix the images of ``run``, and capture it as a graph where CUDA can."""
        self.infer(images_nchw)  # what is allocated lazily is allocated before the capture
        self._graph = self._gpu.capture(self._try_to_enqueue)
        self._inner = self._gpu.capture(self._compute) if self._graph is not None else None
        how = "as a CUDA graph" if self._graph is not None else "without a CUDA graph"
        self.engine = "%s, copies included, %s" % (self._name, how)

    def run(self) -> None:
        """Copy in, infer and copy out once."""
        if self._graph is not None:
            self._gpu.launch(self._graph)
        else:
            self._enqueue()
        self._gpu.synchronise()

    def computed_ms(self) -> float:
        """Infer once without copies and return the time by the GPU's own clock (CUDA events)."""
        if self._inner is not None:
            return self._gpu.milliseconds(lambda: self._gpu.launch(self._inner))
        return self._gpu.milliseconds(self._compute)

    def memory(self) -> Dict[str, Optional[float]]:
        """Return MiB: "device_mib", taken since the CUDA context was there, and "context_mib".

        The latter TensorRT reckons for the activations of one execution context; it is a part of
        the former, as weights and buffers are.
        """
        new, old = "device_memory_size_v2", "device_memory_size"  # 10.1 and later; before 11
        needed = getattr(self._engine, new if hasattr(self._engine, new) else old)
        return {"device_mib": self._meter.taken_mib(), "context_mib": needed / 2**20}

    def bound_output(self) -> Any:
        """Return what the last ``run`` wrote, in the engine's own type."""
        return self._output.host

    def layer_times(
        self, images_nchw: Any, runs: int
    ) -> Tuple[List[Dict[str, float]], Dict[str, Any]]:
        """Return the ms of each layer in each of ``runs`` inferences, and what the layers are.

        In a context of its own: TensorRT waits after every layer, so the sum is longer than an
        inference takes.
        """
        trt: Any = self._trt

        class Profiler(trt.IProfiler):  # type: ignore[misc]
            """Called back for each layer; for some more than once."""

            def __init__(self) -> None:
                trt.IProfiler.__init__(self)
                self.times: Dict[str, float] = {}

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                self.times[layer_name] = self.times.get(layer_name, 0.0) + ms

        timed, found = self._context, []
        profiler = Profiler()
        self._context = self._engine.create_execution_context()
        try:
            if self._context is None:
                raise self._fault("layers cannot be timed", "too little memory on the GPU")
            self._shape = None
            self.infer(images_nchw)
            self._context.profiler = profiler
            for _ in range(runs):
                profiler.times = {}
                self._enqueue()
                self._gpu.synchronise()
                found.append(profiler.times)
        finally:
            self._context, self._shape = timed, None
        return found, described(trt, self._engine)

    def close(self) -> None:
        """Give back the GPU: first what was made last, at the latest when Python ends."""
        atexit.unregister(self.close)
        self._input.host = self._output.host = None
        self._context = None
        self._engine = None
        self._runtime = None
        self._gpu.close()

    def _fill(self, images_nchw: Any) -> None:
        """Put images where they are copied from, as the engine's type."""
        import numpy as np

        if images_nchw.shape != self._shape:
            self._resize(tuple(images_nchw.shape))
        self._input.host[...] = images_nchw
        if self._input.dtype.kind != "f" and not np.array_equal(self._input.host, images_nchw):
            raise AgentError(
                "model",
                "'%s' takes %s, which cannot hold these images: give it whole numbers"
                % (self._path, self._input.dtype),
            )

    def _resize(self, shape: Tuple[int, ...]) -> None:
        context = self._context
        if not context.set_input_shape(self._input.name, shape):
            raise AgentError(
                "model",
                "'%s' takes images of shape %s%s, but these have %s"
                % (self._path, list(self._input.shape), self._limits(), list(shape)),
            )
        if context.infer_shapes():
            raise self._fault("'%s' leaves shapes open" % self._path, "no reason is given")
        for graph in (self._graph, self._inner):
            if graph is not None:
                self._gpu.drop(graph)
        self._graph = self._inner = None
        self._shape = None
        self._input.place(self._gpu, shape)
        self._output.place(self._gpu, tuple(context.get_tensor_shape(self._output.name)))
        for tensor in (self._input, self._output):
            if not context.set_tensor_address(tensor.name, tensor.address):
                raise self._fault("'%s' cannot be bound" % tensor.name, "no reason is given")
        self._shape = shape

    def _batches(self) -> Tuple[int, int]:
        fixed = self.input_shape[0]
        if fixed is not None:
            return fixed, fixed
        low, _, high = self._engine.get_tensor_profile_shape(self._input.name, 0)
        return low[0], high[0]

    def _limits(self) -> str:
        if None not in self.input_shape:
            return ""
        low, _, high = self._engine.get_tensor_profile_shape(self._input.name, 0)
        return " (from %s to %s)" % (list(low), list(high))

    def _enqueue(self) -> None:
        if not self._try_to_enqueue():
            raise self._fault("'%s' cannot be run" % self._path, "no reason is given")

    def _try_to_enqueue(self) -> bool:
        """Queue an inference; False: TensorRT refuses."""
        self._gpu.upload(self._input.address, self._input.host)
        if not self._compute():
            return False
        self._gpu.download(self._output.host, self._output.address)
        return True

    def _compute(self) -> bool:
        return bool(self._context.execute_async_v3(self._gpu.stream))

    def _only(self, names: List[str], mode: Any, noun: str) -> _Tensor:
        found = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        if len(found) != 1:
            raise AgentError(
                "model",
                "'%s' must have one %s, but has: %s"
                % (self._path, noun, ", ".join(found) or "none"),
            )
        return _Tensor(self._trt, self._engine, found[0], self._path)

    def _fault(self, what: str, otherwise: str) -> AgentError:
        return AgentError("model", "%s: %s" % (what, self._logger.told(otherwise)))
