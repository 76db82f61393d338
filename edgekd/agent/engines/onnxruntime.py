"""ONNX Runtime on the processor."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from ..protocol import AgentError

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")

_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_FLOAT = "tensor(float)"
_KERNEL = "_kernel_time"  # how the profiler's names of nodes end


def load_runtime() -> None:
    """Import ONNX Runtime, which takes longer than opening a small model."""
    import onnxruntime  # noqa: F401


def open_model(path: str, threads: int) -> OnnxRuntimeModel:
    """Open an ONNX file with ``threads`` threads inside an operator and one operator at a time.

    Spinning stays as ONNX Runtime has it, because that is how the model will be deployed: with one
    thread there is no pool; with several, each subject has a process of its own, which hands over
    its turn only when the pool sleeps (``timing.rest``).

    Raises:
        AgentError: not a model that this runtime can load, or not one of images.
    """
    import onnxruntime

    options = _options(threads)
    if not os.path.isfile(path):
        raise AgentError("model", "there is no model file '%s'" % path)
    try:
        session = open_session(path, options)
    except _errors() as error:
        raise AgentError("model", "'%s' cannot be opened: %s" % (path, _short(error))) from error
    engine = "onnxruntime %s, %s" % (onnxruntime.__version__, _PROVIDER)
    return OnnxRuntimeModel(session, path, engine, threads)


def _options(threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS_ONLY
    return options


def open_session(model: Any, options: Any) -> Any:
    """Return a session on the processor; where fusing Q and DQ breaks a graph, one without it.

    ONNX Runtime 1.31 fuses Q and DQ of FP16 scales around a Concat into an operator that knows FP32
    scales alone, and then refuses its own graph.

    Args:
        model: a path, or the bytes of an ONNX file.
        options: an ``onnxruntime.SessionOptions``; fusing may be switched off in it.
    """
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(model, options, providers=[_PROVIDER])
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return onnxruntime.InferenceSession(model, options, providers=[_PROVIDER])


class OnnxRuntimeModel:
    """A session with one input of images and one output.

    Args:
        session: an ``onnxruntime.InferenceSession``.
        path: of the file, for messages.
        engine: the runtime's name and version.
        threads: inside an operator.
    """

    def __init__(self, session: Any, path: str, engine: str, threads: int = 1) -> None:
        self.engine = engine
        self._threads = threads
        self._path = path
        self._session = session
        self._input = self._only(session.get_inputs(), "input")
        self._output = self._only(session.get_outputs(), "output")
        self.input_shape: Tuple[Optional[int], ...] = tuple(
            size if isinstance(size, int) else None for size in self._input.shape
        )
        if len(self.input_shape) != len("NCHW"):
            raise AgentError(
                "model",
                "'%s' takes an input of shape %s, but images have four dimensions: N, C, H, W"
                % (path, self._input.shape),
            )
        fixed = self.input_shape[0]
        self.batches: Tuple[int, Optional[int]] = (fixed or 1, fixed)
        self._binding: Any = None
        self._output_shape: Optional[Tuple[int, ...]] = None
        self._kept: List[Any] = []

    def infer(self, images_nchw: Any) -> Any:
        """Return the output [N, K] for one batch."""
        self._check(images_nchw)
        try:
            output = self._session.run([self._output.name], {self._input.name: images_nchw})[0]
        except _errors() as error:
            message = "'%s' cannot be run: %s" % (self._path, _short(error))
            raise AgentError("model", message) from error
        self._output_shape = tuple(output.shape)
        return output

    def bind(self, images_nchw: Any) -> None:
        """Keep input and output in place, so that ``run`` neither copies nor allocates them."""
        import numpy as np

        self._check(images_nchw)
        assert self._output_shape is not None, "infer() comes first: it tells the output's shape"
        image = np.ascontiguousarray(images_nchw)
        output = np.empty(self._output_shape, dtype=np.float32)
        self._kept = [image, output]  # the binding holds bare addresses
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input(self._input.name, image)
        self._binding.bind_output(
            self._output.name, "cpu", 0, np.float32, output.shape, output.ctypes.data
        )

    def run(self) -> None:
        """Run once on the bound buffers."""
        self._session.run_with_iobinding(self._binding)

    def bound_output(self) -> Any:
        """Return what the last ``run`` wrote."""
        return self._kept[1]

    def layer_times(
        self, images_nchw: Any, runs: int
    ) -> Tuple[List[Dict[str, float]], Dict[str, Any]]:
        """Return the ms of each node in each of ``runs`` inferences, and what the nodes are.

        By ONNX Runtime's profiler, in a session of its own, whose first inference is left out.
        Nodes are those of the optimised graph; one without a name is called after its operator.
        """
        self._check(images_nchw)
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            options = _options(self._threads)
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(folder, "profile")
            session = open_session(self._path, options)
            for _ in range(1 + runs):
                session.run([self._output.name], {self._input.name: images_nchw})
            with open(session.end_profiling(), encoding="utf-8") as file:
                events = json.load(file)
        return node_times(events)[1:], described(events)

    def close(self) -> None:
        """Give back the session."""
        self._binding = self._session = None

    def _only(self, found: List[Any], noun: str) -> Any:
        names = ", ".join("%s %s" % (value.name, value.type) for value in found)
        if len(found) != 1 or found[0].type != _FLOAT:
            raise AgentError(
                "model",
                "'%s' must have one %s of float32, but has: %s"
                % (self._path, noun, names or "none"),
            )
        return found[0]

    def _check(self, images_nchw: Any) -> None:
        shape = images_nchw.shape
        fits = len(shape) == len(self.input_shape) and all(
            size in (None, given)
            for size, given in zip(self.input_shape, shape)  # noqa: B905  strict= is 3.10
        )
        if not fits:
            raise AgentError(
                "model",
                "'%s' takes images of shape %s, but these have %s"
                % (self._path, tuple(self._input.shape), tuple(shape)),
            )


def node_times(events: List[Dict[str, Any]]) -> List[Dict[str, float]]:
    """Return the ms of each node in each inference, from what ONNX Runtime's profiler wrote.

    An inference's nodes come before its event "model_run".
    """
    found: List[Dict[str, float]] = []
    times: Dict[str, float] = {}
    for event in events:
        node = _node(event)
        if node:
            times[node] = times.get(node, 0.0) + event["dur"] / 1000
        elif event.get("name") == "model_run":
            found.append(times)
            times = {}
    return found


def described(events: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Return the operator and element types of each node, in the form of TensorRT's inspector."""
    layers = {}
    for event in events:
        node = _node(event)
        if node:
            told = event["args"]
            layer = {
                "Name": node,
                "LayerType": told["op_name"],
                "Inputs": _tensors(told.get("input_type_shape")),
                "Outputs": _tensors(told.get("output_type_shape")),
            }
            layers[json.dumps(layer)] = layer  # the same in every inference
    return {"Layers": list(layers.values())}


def _node(event: Dict[str, Any]) -> str:
    """Return the node whose kernel an event timed; "": it is another event."""
    name = str(event.get("name", ""))
    if event.get("cat") != "Node" or not name.endswith(_KERNEL):
        return ""
    return name[: -len(_KERNEL)] or str(event["args"]["op_name"])


def _tensors(found: Any) -> List[Dict[str, str]]:
    """Return the element types of [{"uint8": [1, 8, 8, 1]}, {"float": []}]; None: not said."""
    return [{"Name": "", "Datatype": kind} for one in found or () for kind in one]


def _errors() -> Tuple[Any, ...]:
    """Return what ONNX Runtime raises; its classes share no parent but RuntimeError or Exception.

    Raised for files that are no models, unknown operators, wrong shapes, too little memory.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "ModelLoadCanceled")
    others = ("NoSuchFile", "NoModel", "NotImplemented", "RuntimeException", "EPFail")
    found = [getattr(state, name) for name in names + others if hasattr(state, name)]
    return (*found, RuntimeError, ValueError)


def _short(error: BaseException) -> str:
    """Return an error's first line: the rest is native stack."""
    return str(error).strip().partition("\n")[0]
