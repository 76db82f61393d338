"""Calls into libcudart by ctypes: needs nothing but CUDA itself."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Dict, Tuple

from ..protocol import AgentError
from .runtime import Call, CudaError

_NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
_FOLDERS = ("", "/usr/local/cuda/lib64/")

_POINTER, _SIZE, _INT, _UINT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint
_PROPERTIES = ctypes.c_char * 16384  # a struct that grows; its first member is the name, char[256]

# What a call returns by its first pointer (None: nothing), and what it takes behind that.
_SIGNATURES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "cudaRuntimeGetVersion": (_INT, ()),
    "cudaDriverGetVersion": (_INT, ()),
    "cudaGetDeviceCount": (_INT, ()),
    "cudaDeviceGetAttribute": (_INT, (_INT, _INT)),
    "cudaGetDeviceProperties": (_PROPERTIES, (_INT,)),
    "cudaMemGetInfo": (_SIZE, ()),
    "cudaMalloc": (_POINTER, (_SIZE,)),
    "cudaFree": (None, (_POINTER,)),
    "cudaHostAlloc": (_POINTER, (_SIZE, _UINT)),
    "cudaFreeHost": (None, (_POINTER,)),
    "cudaMemcpyAsync": (None, (_POINTER, _POINTER, _SIZE, _INT, _POINTER)),
    "cudaStreamCreateWithFlags": (_POINTER, (_UINT,)),
    "cudaStreamDestroy": (None, (_POINTER,)),
    "cudaStreamSynchronize": (None, (_POINTER,)),
    "cudaStreamBeginCapture": (None, (_POINTER, _INT)),
    "cudaStreamEndCapture": (_POINTER, (_POINTER,)),
    "cudaEventCreate": (_POINTER, ()),
    "cudaEventDestroy": (None, (_POINTER,)),
    "cudaEventRecord": (None, (_POINTER, _POINTER)),
    "cudaEventSynchronize": (None, (_POINTER,)),
    "cudaEventElapsedTime": (ctypes.c_float, (_POINTER, _POINTER)),
    "cudaGraphInstantiateWithFlags": (_POINTER, (_POINTER, ctypes.c_ulonglong)),
    "cudaGraphLaunch": (None, (_POINTER, _POINTER)),
    "cudaGraphDestroy": (None, (_POINTER,)),
    "cudaGraphExecDestroy": (None, (_POINTER,)),
}
_OUTPUT_LAST = ("cudaStreamEndCapture",)


def calls() -> Tuple[str, Call, bool]:
    """Find libcudart and return the arguments of ``Runtime``.

    The environment variable ``EDGEKD_CUDART`` names another library than the newest one.

    Raises:
        AgentError: there is none.
    """
    library = _load()

    def call(name: str, *inputs: Any) -> Any:
        if name == "cudaGetLastError":  # its result is no failure of the call
            return int(library.cudaGetLastError())
        kind, expected = _SIGNATURES[name]
        output = None if kind is None else kind()
        arguments = [form(given) for form, given in zip(expected, inputs)]  # noqa: B905
        if output is not None:
            place = len(arguments) if name in _OUTPUT_LAST else 0
            arguments.insert(place, ctypes.byref(output))
        if name == "cudaMemGetInfo":
            arguments.append(ctypes.byref(_SIZE()))  # how much there is in all
        status = getattr(library, name)(*arguments)
        if status:
            raise CudaError(name, "%s (%d)" % (_text(library, status), status))
        value = None if output is None else output.value
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    return "libcudart", call, hasattr(library, "cudaGraphInstantiateWithFlags")


def _load() -> Any:
    chosen = os.environ.get("EDGEKD_CUDART")
    candidates = [chosen] if chosen else [folder + name for folder in _FOLDERS for name in _NAMES]
    reasons = []
    for candidate in candidates:
        try:
            library = ctypes.CDLL(candidate)
        except OSError as error:
            reasons.append(str(error))
            continue
        library.cudaGetErrorString.restype = ctypes.c_char_p
        return library
    raise AgentError(
        "engine",
        "there is no CUDA runtime (%s): install CUDA, or name its libcudart.so with EDGEKD_CUDART"
        % reasons[0],
    )


def _text(library: Any, status: int) -> str:
    return str(library.cudaGetErrorString(status).decode("utf-8", "replace"))
