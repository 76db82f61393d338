"""Build a TensorRT engine from an ONNX file, with any TensorRT from 8.5 to 11.

What a version has is asked of its module by name, never told from numbers: enumerators were
renumbered twice. Source: NVIDIA's TensorRT Python API reference of each version.
"""

from __future__ import annotations

import json
import signal
from typing import Any, Dict, List, Optional, Tuple

from .. import plan
from ..protocol import AgentError, emit
from ..timing_cache import TimingCache
from ..trtexec_options import has_qdq
from .tensorrt_native import inspect, native_logger

_MIB = 1 << 20
_SHOWN = 10  # layers that are named in a message
_FAULTS = 3  # of the parser that are
_WEAK_FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}


def build(trt: Any, request: Dict[str, Any]) -> Dict[str, Any]:
    """Build and write a plan; see ``edgekd.agent.build`` for the request.

    Args:
        trt: the module ``tensorrt``.
        request: what to build.

    Raises:
        AgentError: TensorRT refuses the file or the request; with its own words.
        KeyboardInterrupt: somebody wants an end; nothing is written.
    """
    logger = native_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # what the bindings make of a null pointer
        raise AgentError("engine", "TensorRT finds no GPU: %s" % logger.told(error)) from error
    strong = _is_strong(trt, request.get("typing") or "auto")
    network, parser = _parsed(trt, builder, logger, request["model"], strong)
    config = builder.create_builder_config()
    warnings: List[str] = []
    _limit(trt, config, request)
    flags = () if strong else _weak_flags(request)
    for flag in flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    _add_profile(builder, network, config, request.get("profiles") or {})
    if request.get("dla_core") is not None:
        warnings += _use_dla(trt, builder, network, config, request)
    cache = TimingCache.of(trt.__version__, request.get("timing_cache"))
    cache.attach(config)
    with _Interruptible(trt, config) as interruptible:
        content = builder.build_serialized_network(network, config)
    if content is None:
        interruptible.check()
        raise AgentError("model", "TensorRT cannot build it: %s" % logger.told("it says no reason"))
    cache.store(config)
    written = bytes(content)
    if request.get("layers"):
        found = inspect(trt, logger, written, request.get("dla_core"))
        plan.write(request["layers"], json.dumps(found, indent=1).encode("utf-8"))
    plan.write(request["plan"], written)
    del parser  # it must outlive the network, whose weights it owns
    return {
        "engine": "tensorrt %s" % trt.__version__,
        "typing": "strong" if strong else "weak",
        "flags": list(flags),
        "timing_cache": cache.state,
        "warnings": warnings + logger.warnings,
    }


def _is_strong(trt: Any, typing: str) -> bool:
    """Settle the typing: strong from TensorRT 10 on, where the graph alone decides."""
    can_be_weak = hasattr(trt.BuilderFlag, "FP16")
    can_be_strong = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or not can_be_weak
    can = {"auto": True, "strong": can_be_strong, "weak": can_be_weak}
    if typing not in can:
        raise AgentError("request", "typing must be one of %s, not '%s'" % (", ".join(can), typing))
    if not can[typing]:
        raise AgentError(
            "request",
            "TensorRT %s has no %s typing: leave it to 'auto'" % (trt.__version__, typing),
        )
    return can_be_strong if typing == "auto" else typing == "strong"


def _parsed(
    trt: Any,
    builder: Any,
    logger: Any,
    path: str,
    strong: bool,  # noqa: FBT001
) -> Tuple[Any, Any]:
    kinds = trt.NetworkDefinitionCreationFlag
    wanted = "STRONGLY_TYPED" if strong else "EXPLICIT_BATCH"  # 11 is strong without a flag
    flag = getattr(kinds, wanted, None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    # Not parse(): only this finds weights in files of their own.
    if not parser.parse_from_file(str(path)) or not network.num_outputs:
        count = parser.num_errors
        faults = [_fault(parser.get_error(index)) for index in range(min(count, _FAULTS))]
        if count > _FAULTS:
            faults.append("and %d more: `edgekd lint` explains such faults" % (count - _FAULTS))
        raise AgentError(
            "model",
            "TensorRT %s cannot read '%s': %s"
            % (trt.__version__, path, "; ".join(faults) or logger.told("it has no output")),
        )
    return network, parser


def _fault(error: Any) -> str:
    """Return one error of the parser: which node, what is wrong, where TensorRT found it."""
    name, operator = (
        getattr(error, part)() if hasattr(error, part) else ""
        for part in ("node_name", "node_operator")
    )
    node = " ".join(part for part in (operator, "'%s'" % name if name else "") if part)
    where = "node %d%s" % (error.node(), " (%s)" % node if node else "")
    return "%s: %s [%s, %s:%d]" % (where, error.desc(), error.code(), error.file(), error.line())


def _limit(trt: Any, config: Any, request: Dict[str, Any]) -> None:
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or layers stay nameless
    if request.get("workspace_mib") is not None:
        size = int(request["workspace_mib"]) * _MIB
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    level = request.get("optimization_level")
    if level is not None:
        if not hasattr(config, "builder_optimization_level"):
            raise AgentError("request", "TensorRT %s has no optimisation levels" % trt.__version__)
        config.builder_optimization_level = int(level)


def _weak_flags(request: Dict[str, Any]) -> Tuple[str, ...]:
    precision = request.get("precision") or ("int8" if has_qdq(request["model"]) else "fp16")
    if precision not in _WEAK_FLAGS:
        raise AgentError("request", "precision must be one of %s" % ", ".join(_WEAK_FLAGS))
    return _WEAK_FLAGS[precision]


def _add_profile(builder: Any, network: Any, config: Any, wanted: Dict[str, Any]) -> None:
    """Tell of which sizes free dimensions will be; a network without any gets no profile."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    strangers = sorted(set(wanted) - {tensor.name for tensor in inputs})
    if strangers:
        raise AgentError(
            "request",
            "the profile names '%s', but the inputs are: %s"
            % (strangers[0], ", ".join(tensor.name for tensor in inputs)),
        )
    free = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    if not free:
        return
    profile = builder.create_optimization_profile()
    for tensor in free:
        if tensor.name not in wanted:
            raise AgentError(
                "request",
                "input '%s' has free dimensions, %s: its profile must give min, opt and max shapes"
                % (tensor.name, list(tensor.shape)),
            )
        shapes = [tuple(wanted[tensor.name][key]) for key in ("min", "opt", "max")]
        try:
            profile.set_shape(tensor.name, *shapes)
        except RuntimeError as error:
            raise AgentError(
                "request",
                "the profile of '%s', %s, does not hold: %s" % (tensor.name, shapes, error),
            ) from error
    if config.add_optimization_profile(profile) < 0:
        raise AgentError("request", "TensorRT refuses the profile %s" % wanted)


def _use_dla(
    trt: Any, builder: Any, network: Any, config: Any, request: Dict[str, Any]
) -> List[str]:
    """Put what can run there on a DLA; return a remark on what cannot."""
    cores, core = builder.num_DLA_cores, int(request["dla_core"])
    if not 0 <= core < cores:
        raise AgentError("request", "there is no DLA core %d: this GPU has %d" % (core, cores))
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    others = [layer.name for layer in layers if not config.can_run_on_DLA(layer)]
    if not others:
        return []
    text = "%d of %d layers cannot run on the DLA: %s" % (
        len(others),
        len(layers),
        ", ".join(others[:_SHOWN]) + (" ..." if len(others) > _SHOWN else ""),
    )
    if not request.get("gpu_fallback"):
        raise AgentError("request", text + ". Let the GPU take them with gpu_fallback")
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return [text]


class _Interruptible:
    """Lets a build be ended, and tells how far it is.

    From TensorRT 10 on it asks a monitor after each step. Before, there is no way to stop it but to
    end this process, which has written nothing yet.
    """

    def __init__(self, trt: Any, config: Any) -> None:
        self._ended = False
        self._old: Dict[int, Any] = {}
        self._monitor = self._watched(trt, config)

    def __enter__(self) -> _Interruptible:  # noqa: PYI034  Self is younger than 3.8
        handler = self._end if self._monitor is not None else signal.SIG_DFL
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if somebody wanted an end."""
        if self._ended:
            raise KeyboardInterrupt

    def _end(self, number: int, _frame: Any) -> None:
        self._ended = True
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait for the next step

    def _watched(self, trt: Any, config: Any) -> Optional[Any]:
        if not hasattr(trt, "IProgressMonitor"):
            return None
        outer = self

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            """Called back by the builder; an exception would be swallowed."""

            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)
                self._steps: Dict[str, int] = {}

            def phase_start(self, phase_name: str, parent_phase: Any, num_steps: int) -> None:
                if not parent_phase:  # inner ones are many and short
                    self._steps[phase_name] = num_steps

            def step_complete(self, phase_name: str, step: int) -> bool:
                total = self._steps.get(phase_name)
                if total:
                    outer._say(min(step + 1, total), total, phase_name)
                return not outer._ended

            def phase_finish(self, phase_name: str) -> None:
                self._steps.pop(phase_name, None)

        config.progress_monitor = monitor = Monitor()
        return monitor

    def _say(self, done: int, total: int, note: str) -> None:
        try:
            emit("progress", done=done, total=total, note=note)
        except OSError:  # the host has gone
            self._ended = True
