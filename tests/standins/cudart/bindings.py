"""A stand-in for cuda-python: the calls of libcudart as functions that return tuples."""

from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

from edgekd.agent.cuda import libcudart
from edgekd.agent.cuda.runtime import CudaError

cudaError_t = IntEnum("cudaError_t", {"cudaSuccess": 0, "cudaErrorUnknown": 999})  # noqa: N816
cudaMemcpyKind = IntEnum(  # noqa: N816
    "cudaMemcpyKind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2}
)
cudaStreamCaptureMode = IntEnum(  # noqa: N816
    "cudaStreamCaptureMode", {"cudaStreamCaptureModeThreadLocal": 1}
)
cudaDeviceAttr = IntEnum(  # noqa: N816
    "cudaDeviceAttr",
    {
        "cudaDevAttrIntegrated": 18,
        "cudaDevAttrComputeCapabilityMajor": 75,
        "cudaDevAttrComputeCapabilityMinor": 76,
    },
)

# The enumerator that each function insists on, and where.
_TYPED = {
    "cudaMemcpyAsync": (3, cudaMemcpyKind),
    "cudaStreamBeginCapture": (1, cudaStreamCaptureMode),
    "cudaDeviceGetAttribute": (0, cudaDeviceAttr),
}


class Runtime(ModuleType):
    """``cuda.bindings.runtime``, on the library that ``EDGEKD_CUDART`` names."""

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.cudaMemcpyKind = cudaMemcpyKind
        self.cudaStreamCaptureMode = cudaStreamCaptureMode
        self.cudaDeviceAttr = cudaDeviceAttr
        self._call = libcudart.calls()[1]
        self._reason = ""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def function(*inputs: Any) -> tuple[Any, ...]:
            place, enumeration = _TYPED.get(name, (0, None))
            if enumeration and not isinstance(inputs[place], enumeration):
                raise TypeError(f"Argument {place} of {name} is not a {enumeration.__name__}")
            if name == "cudaGetErrorString":
                return cudaError_t.cudaSuccess, self._reason.encode()
            if name == "cudaGetLastError":
                return (cudaError_t(0 if not self._call(name) else 999),)
            try:
                output = self._call(name, *inputs)
            except CudaError as error:
                self._reason = str(error)
                return cudaError_t.cudaErrorUnknown, None
            if name == "cudaGetDeviceProperties":
                output = SimpleNamespace(name=output.encode())
            if name == "cudaMemGetInfo":
                return cudaError_t.cudaSuccess, output, 8 << 30
            return (cudaError_t.cudaSuccess, *([] if output is None else [output]))

        return function


def over_libcudart() -> ModuleType:
    """Return what stands in for the package ``cuda.bindings``."""
    package = ModuleType("cuda.bindings")
    package.runtime = Runtime()  # type: ignore[attr-defined]
    return package
