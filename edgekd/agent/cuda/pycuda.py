"""Memory and copies through pycuda, on the primary context, which TensorRT uses too.

Never ``pycuda.autoinit``: that makes a context of its own. pycuda cannot capture graphs.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

from ..protocol import AgentError
from .runtime import CudaError, version_text


class PyCuda:
    """See ``Cuda``.

    Raises:
        ImportError: pycuda is missing.
        AgentError: there is no GPU.
    """

    graphs = False

    def __init__(self) -> None:
        import pycuda
        from pycuda import driver

        self._driver = driver
        self.name = "pycuda %s" % pycuda.VERSION_TEXT
        self._call(driver.init)
        if not self._call(driver.Device.count):
            raise AgentError("engine", "%s finds no GPU" % self.name)
        self._gpu = driver.Device(0)
        self._context = self._call(self._gpu.retain_primary_context)
        self._context.push()
        self.unified = bool(self._gpu.get_attribute(driver.device_attribute.INTEGRATED))
        self._stream = self._call(driver.Stream)
        self.stream = int(self._stream.handle)
        self._device: Dict[int, Any] = {}
        self._pinned: Dict[int, Any] = {}

    def gpu(self) -> Dict[str, str]:
        """See ``Cuda``."""
        return {
            "name": self._call(self._gpu.name),
            "compute_capability": "%d.%d" % tuple(self._gpu.compute_capability()),
            "driver": version_text(self._call(self._driver.get_driver_version)),
            "runtime": self.name,
        }

    def free_bytes(self) -> int:
        """See ``Cuda``."""
        return int(self._call(self._driver.mem_get_info)[0])

    def alloc(self, size: int) -> int:
        """See ``Cuda``."""
        memory = self._call(self._driver.mem_alloc, size)
        self._device[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """See ``Cuda``."""
        self._device.pop(address).free()

    def pinned(self, shape: Tuple[int, ...], dtype: Any) -> Any:
        """See ``Cuda``."""
        array = self._call(self._driver.pagelocked_empty, shape, dtype)
        self._pinned[array.ctypes.data] = array
        return array

    def unpin(self, array: Any) -> None:
        """See ``Cuda``; pycuda frees the memory with the last array that shows it."""
        del self._pinned[array.ctypes.data]

    def upload(self, address: int, array: Any) -> None:
        """See ``Cuda``."""
        self._call(self._driver.memcpy_htod_async, address, array, self._stream)

    def download(self, array: Any, address: int) -> None:
        """See ``Cuda``."""
        self._call(self._driver.memcpy_dtoh_async, array, address, self._stream)

    def synchronise(self) -> None:
        """See ``Cuda``."""
        self._call(self._stream.synchronize)

    def milliseconds(self, work: Callable[[], object]) -> float:
        """See ``Cuda``."""
        start, end = self._driver.Event(), self._driver.Event()
        start.record(self._stream)
        work()
        end.record(self._stream)
        self._call(end.synchronize)
        return float(end.time_since(start))

    def capture(self, work: Callable[[], bool]) -> Optional[Any]:  # noqa: ARG002  see Cuda
        """See ``Cuda``: always None."""
        return None

    def launch(self, graph: Any) -> None:
        """See ``Cuda``: there is never a graph."""
        raise AssertionError(graph)

    def drop(self, graph: Any) -> None:
        """See ``Cuda``: there is never a graph."""
        raise AssertionError(graph)

    def close(self) -> None:
        """See ``Cuda``: memory and stream go before the context that they are in."""
        if self._context is None:
            return
        self.synchronise()
        for address in list(self._device):
            self.free(address)
        self._pinned.clear()
        self._stream = None
        self._context.pop()
        self._context = None

    def _call(self, function: Callable[..., Any], *inputs: Any) -> Any:
        try:
            return function(*inputs)
        except self._driver.Error as error:
            raise CudaError(function.__name__, str(error)) from error
