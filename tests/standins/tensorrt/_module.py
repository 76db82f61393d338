"""What the module of the chosen version holds."""

import warnings
from typing import Any

from . import _build, _callbacks, _context, _engine, _network, _plan, _pybind, _types
from ._facts import FACTS, VERSION

_OWN = (
    *(_build.Builder, _build.IBuilderConfig, _build.IOptimizationProfile, _build.ITimingCache),
    *(_engine.Runtime, _engine.ICudaEngine, _engine.EngineInspector, _context.IExecutionContext),
    *(_network.INetworkDefinition, _network.ITensor, _network.ILayer, _network.OnnxParser),
    *(_network.ParserError, _plan.IHostMemory, _callbacks.Dims),
    *(_callbacks.Logger, _callbacks.Profiler, *_callbacks.INTERFACES),
)
_CONTEXTS = (
    *("ILogger", "ICudaEngine", "IExecutionContext", "Runtime", "IHostMemory", "Builder"),
    *("INetworkDefinition", "OnnxParser", "IBuilderConfig"),
)


def _enter(this: Any) -> Any:
    warnings.warn(
        "Context managers for TensorRT types are deprecated. "
        "Memory will be freed automatically when the reference count reaches 0.",
        DeprecationWarning,
        stacklevel=2,
    )
    return this


def _exit(*_: object) -> None:
    """Do nothing, as the real one."""


def get_nv_onnx_parser_version() -> int:
    """Return the parser's version, as the bindings do: a number made of major, minor and patch."""
    major, minor, patch = (int(part) for part in VERSION.split(".")[:3])
    return major * 10000 + minor * 100 + patch


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    """There are no plugins to register."""
    return True


def _classes() -> dict[str, Any]:
    """Return every class of this version, with exactly its members."""
    own = {cls.__name__: cls for cls in _OWN}
    facts = FACTS["classes"]
    for name in facts:
        own.setdefault(name, _pybind.Bound(name, (_pybind.Native,), {"__slots__": ()}))
        _pybind.TYPES[name] = own[name]
    for name, members in facts.items():
        if own[name] in _callbacks.INTERFACES:
            for label in set(members) - {"__init__"}:
                setattr(own[name], label, _callbacks.pure(name, label, members[label][0]))
        _pybind.bind(own[name], members)
    for name in _CONTEXTS:
        own[name].__enter__, own[name].__exit__ = _enter, _exit
    severity = _callbacks.Severity
    for label, member in ({"Severity": severity} | severity.__members__).items():
        setattr(own["ILogger"], label, member)
    return {name: own[name] for name in facts}


def names() -> dict[str, Any]:
    """Return what the module has."""
    return {
        **_classes(),
        **{name: kind for name, kind in _callbacks.ENUMS.items() if "." not in name},
        **_types.CONSTANTS,
        "nptype": _types.numpy_type,
        "volume": _types.volume,
        "get_nv_onnx_parser_version": get_nv_onnx_parser_version,
        "init_libnvinfer_plugins": init_libnvinfer_plugins,
        "__version__": VERSION,
    }
