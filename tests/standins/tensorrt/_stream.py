"""Streams: work is queued with whoever made the stream, and done when that says so."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def enqueue(stream: int, work: Callable[[], None]) -> Any:
    """Queue work; return what must be kept alive while it may run, or None where CUDA refuses.

    A stream of the stand-ins for pycuda or libcudart (``EDGEKD_CUDART``) does it in its own time,
    and captures it; without either the work is done at once.
    """
    pycuda = sys.modules.get("pycuda.driver")
    if pycuda is not None and stream in pycuda._streams:
        pycuda._streams[stream]._put(work)
        return work
    library = os.environ.get("EDGEKD_CUDART")
    if library is None or not stream:
        work()
        return work
    called = HOST_FUNCTION(lambda _data: work())
    launch = ctypes.CDLL(library).cudaLaunchHostFunc
    launch.argtypes = (ctypes.c_void_p, HOST_FUNCTION, ctypes.c_void_p)
    return None if launch(stream, called, None) else called


def array_at(address: int, shape: tuple[int, ...], kind: Any) -> Any:
    """Return the array [shape] at an address."""
    import numpy as np

    count = int(np.prod(shape))
    memory = (ctypes.c_ubyte * (count * np.dtype(kind).itemsize)).from_address(address)
    return np.frombuffer(memory, kind, count).reshape(shape)
