"""Calls through NVIDIA's cuda-python: ``cuda.bindings.runtime``, or ``cuda.cudart`` before 12.6."""

from __future__ import annotations

from typing import Any, Tuple

from .runtime import Call, CudaError


def calls() -> Tuple[str, Call, bool]:
    """Return the arguments of ``Runtime``.

    Raises:
        ImportError: cuda-python is missing.
    """
    try:
        from cuda.bindings import runtime
    except ImportError:
        from cuda import cudart as runtime

    def call(name: str, *inputs: Any) -> Any:
        if name == "cudaGetLastError":
            return int(runtime.cudaGetLastError()[0])
        error, *outputs = getattr(runtime, name)(*_typed(runtime, name, inputs))
        if int(error):
            words = runtime.cudaGetErrorString(error)[1]
            text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
            raise CudaError(name, "%s (%d)" % (text, int(error)))
        if name == "cudaGetDeviceProperties":
            return outputs[0].name.decode("utf-8", "replace")
        return outputs[0] if outputs else None

    return "cuda-python", call, hasattr(runtime, "cudaGraphInstantiateWithFlags")


def _typed(runtime: Any, name: str, inputs: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """Return the inputs with numbers made enumerators, where cuda-python asks for them."""
    if name == "cudaMemcpyAsync":
        target, source, size, kind, stream = inputs
        return (target, source, size, runtime.cudaMemcpyKind(kind), stream)
    if name == "cudaStreamBeginCapture":
        return (inputs[0], runtime.cudaStreamCaptureMode(inputs[1]))
    if name == "cudaDeviceGetAttribute":
        return (runtime.cudaDeviceAttr(inputs[0]), inputs[1])
    return inputs
