"""CUDA's runtime API, whoever makes the calls: ctypes or cuda-python.

Sources: NVIDIA's CUDA Runtime API reference, modules Memory, Stream, Event and Graph management.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..protocol import AgentError

_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyKind
_NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the default stream
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads may go on allocating
_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapability...
_INTEGRATED = 18  # cudaDevAttrIntegrated

Call = Callable[..., Any]  # name of the function, its inputs -> its output; raises CudaError


class CudaError(AgentError):
    """A call that failed.

    Args:
        function: its name.
        reason: CUDA's own words.
    """

    def __init__(self, function: str, reason: str) -> None:
        super().__init__("engine", "%s: %s" % (function, reason))


class Runtime:
    """See ``Cuda``.

    Args:
        library: what makes the calls, for people.
        call: calls a function of the runtime by its name; returns the first of its outputs.
        graphs: whether it has ``cudaGraphInstantiateWithFlags`` (CUDA 11.4 and later), the one
            form of instantiation that did not change between 11 and 13.

    Raises:
        AgentError: there is no GPU.
    """

    def __init__(self, library: str, call: Call, *, graphs: bool) -> None:
        self._call = call
        self.graphs = graphs
        self.name = "%s %s" % (library, version_text(call("cudaRuntimeGetVersion")))
        if not call("cudaGetDeviceCount"):
            raise AgentError("engine", "%s finds no GPU" % self.name)
        self.unified = bool(call("cudaDeviceGetAttribute", _INTEGRATED, 0))
        self._stream = call("cudaStreamCreateWithFlags", _NON_BLOCKING)
        self.stream = int(self._stream)
        self._device: List[int] = []
        self._pinned: Dict[int, Any] = {}  # address -> the memory that arrays are views of
        self._graphs: List[Any] = []

    def gpu(self) -> Dict[str, str]:
        """See ``Cuda``."""
        call = self._call
        capability = [call("cudaDeviceGetAttribute", part, 0) for part in (_MAJOR, _MINOR)]
        return {
            "name": call("cudaGetDeviceProperties", 0),
            "compute_capability": "%d.%d" % tuple(capability),
            "driver": version_text(call("cudaDriverGetVersion")),
            "runtime": self.name,
        }

    def free_bytes(self) -> int:
        """See ``Cuda``."""
        return int(self._call("cudaMemGetInfo"))

    def alloc(self, size: int) -> int:
        """See ``Cuda``."""
        address = int(self._call("cudaMalloc", size))
        self._device.append(address)
        return address

    def free(self, address: int) -> None:
        """See ``Cuda``."""
        self._call("cudaFree", address)
        self._device.remove(address)

    def pinned(self, shape: Tuple[int, ...], dtype: Any) -> Any:
        """See ``Cuda``."""
        import numpy as np

        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        address = int(self._call("cudaHostAlloc", size, 0))
        self._pinned[address] = memory = (ctypes.c_uint8 * size).from_address(address)
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def unpin(self, array: Any) -> None:
        """See ``Cuda``."""
        address = array.ctypes.data
        self._call("cudaFreeHost", address)
        del self._pinned[address]

    def upload(self, address: int, array: Any) -> None:
        """See ``Cuda``."""
        self._copy(address, array.ctypes.data, array.nbytes, _TO_DEVICE)

    def download(self, array: Any, address: int) -> None:
        """See ``Cuda``."""
        self._copy(array.ctypes.data, address, array.nbytes, _TO_HOST)

    def synchronise(self) -> None:
        """See ``Cuda``."""
        self._call("cudaStreamSynchronize", self._stream)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """See ``Cuda``."""
        call = self._call
        start, end = call("cudaEventCreate"), call("cudaEventCreate")
        try:
            call("cudaEventRecord", start, self._stream)
            work()
            call("cudaEventRecord", end, self._stream)
            call("cudaEventSynchronize", end)
            return float(call("cudaEventElapsedTime", start, end))
        finally:
            call("cudaEventDestroy", start)
            call("cudaEventDestroy", end)

    def capture(self, work: Callable[[], bool]) -> Optional[Any]:
        """See ``Cuda``."""
        if not self.graphs:
            return None
        call = self._call
        call("cudaStreamBeginCapture", self._stream, _THREAD_LOCAL)
        try:
            captured = work()
        except CudaError:  # a call that may not be captured
            captured = False
        try:
            graph = call("cudaStreamEndCapture", self._stream)
            try:
                ready = call("cudaGraphInstantiateWithFlags", graph, 0) if captured else None
            finally:
                call("cudaGraphDestroy", graph)
        except CudaError:
            ready = None
        if ready is None:
            call("cudaGetLastError")  # clears it, or the next call would report it
        else:
            self._graphs.append(ready)
        return ready

    def launch(self, graph: Any) -> None:
        """See ``Cuda``."""
        self._call("cudaGraphLaunch", graph, self._stream)

    def drop(self, graph: Any) -> None:
        """See ``Cuda``."""
        self._call("cudaGraphExecDestroy", graph)
        self._graphs.remove(graph)

    def close(self) -> None:
        """See ``Cuda``."""
        if self._stream is None:
            return
        self.synchronise()
        for graph in list(self._graphs):
            self.drop(graph)
        for address in list(self._device):
            self.free(address)
        for address in list(self._pinned):
            self._call("cudaFreeHost", address)
            del self._pinned[address]
        self._call("cudaStreamDestroy", self._stream)
        self._stream = None

    def _copy(self, target: int, source: int, size: int, kind: int) -> None:
        self._call("cudaMemcpyAsync", target, source, size, kind, self._stream)


def version_text(number: int) -> str:
    """Return CUDA's 12060 as "12.6"."""
    return "%d.%d" % (number // 1000, number % 1000 // 10)
