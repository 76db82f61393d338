"""What building and running share: TensorRT's messages, and plans made engines."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, List, Optional, Tuple

from ..protocol import AgentError

_KEPT = 5  # errors that are shown
_loggers: List[Any] = []  # TensorRT really uses the first of a process, and needs it to the end


def native_logger(trt: Any) -> Any:
    """Return an ``ILogger`` that writes to stderr and keeps warnings and errors.

    TensorRT reports most failures by returning None or False; why, only the logger hears. The stock
    logger writes to stdout, which belongs to the agent's lines.
    """
    if _loggers and isinstance(_loggers[0], trt.ILogger):
        _loggers[0].forget()
        return _loggers[0]

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Called back by TensorRT, from its own threads too."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._quiet = (trt.ILogger.INFO, trt.ILogger.VERBOSE)
            self._warning = trt.ILogger.WARNING
            self.forget()

        def forget(self) -> None:
            self.errors: List[str] = []
            self.warnings: List[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in self._quiet:
                return
            (self.warnings if severity == self._warning else self.errors).append(msg)
            print("TensorRT: %s" % msg, file=sys.stderr)

        def told(self, otherwise: object) -> str:
            """Return the last errors, or what else is known."""
            return "; ".join(self.errors[-_KEPT:]) or str(otherwise)

    _loggers[:] = [Logger()]
    return _loggers[0]


def deserialised(trt: Any, logger: Any, content: bytes, dla_core: Optional[int]) -> Tuple[Any, Any]:
    """Return the runtime and the engine of a plan; the engine must go before the runtime.

    Code that a plan may carry for the host (``engine_host_code_allowed``) stays forbidden, which is
    TensorRT's default.

    Raises:
        AgentError: TensorRT refuses it.
    """
    runtime = trt.Runtime(logger)
    if dla_core is not None:
        runtime.DLA_core = dla_core
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise AgentError(
            "model", "TensorRT refuses the plan: %s" % logger.told("it gives no reason")
        )
    return runtime, engine


def inspect(trt: Any, logger: Any, content: bytes, dla_core: Optional[int]) -> Dict[str, Any]:
    """Return what the inspector says of a plan's layers; see ``described``.

    Raises:
        AgentError: TensorRT refuses the plan, or says something else.
    """
    runtime, engine = deserialised(trt, logger, content, dla_core)
    found = described(trt, engine)
    del engine, runtime  # in this order
    return found


def described(trt: Any, engine: Any) -> Dict[str, Any]:
    """Return what the inspector says of an engine's layers, in the schema of its version.

    Up to 10: "Layers" and "Bindings"; 11: "Layers" and "I/O Tensors".

    Raises:
        AgentError: it says something else.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise AgentError("engine", "TensorRT's inspector wrote no JSON: %s" % error) from error
    if not isinstance(found, dict) or "Layers" not in found:
        raise AgentError("engine", "TensorRT's inspector told of no layers: %.80s" % text)
    return found
