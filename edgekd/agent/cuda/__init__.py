"""Memory, copies and graphs on the GPU, by any of three libraries.

``libcudart`` (ctypes; needs nothing but CUDA, and is the default), ``cuda-python`` and ``pycuda``
(which cannot capture graphs). The environment variable ``EDGEKD_CUDA`` chooses another.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from ..protocol import AgentError

if TYPE_CHECKING:  # numpy may be missing where only `probe` is wanted
    from typing import Protocol, Tuple

    class Cuda(Protocol):
        """One GPU, one stream of work on it, and all memory that was taken there."""

        name: str  # "libcudart 12.6"
        graphs: bool  # whether work can be captured
        unified: bool  # whether its memory is the system's, as on a Jetson
        stream: int  # its handle; never the default stream, on which TensorRT waits for the GPU

        def gpu(self) -> Dict[str, str]:
            """Return its "name" and "compute_capability", the "driver" and the "runtime"."""
            ...

        def free_bytes(self) -> int:
            """Return how much of its memory nobody has taken; see ``memory.Meter``."""
            ...

        def alloc(self, size: int) -> int:
            """Return the address of ``size`` > 0 bytes on the GPU."""
            ...

        def free(self, address: int) -> None:
            """Give back what ``alloc`` returned."""
            ...

        def pinned(self, shape: Tuple[int, ...], dtype: Any) -> Any:
            """Return an array in memory that the GPU copies from and to by itself, not cleared."""
            ...

        def unpin(self, array: Any) -> None:
            """Give back what ``pinned`` returned; the array must not be touched again."""
            ...

        def upload(self, address: int, array: Any) -> None:
            """Queue a copy from a pinned array to the GPU."""
            ...

        def download(self, array: Any, address: int) -> None:
            """Queue a copy from the GPU to a pinned array."""
            ...

        def synchronise(self) -> None:
            """Wait until all that was queued is done."""
            ...

        def milliseconds(self, work: Callable[[], object]) -> float:
            """Return how long the GPU takes for what ``work`` queues."""
            ...

        def capture(self, work: Callable[[], bool]) -> Optional[Any]:
            """Return what ``work`` queues as a graph for ``launch``.

            None: ``work`` returned False, or it cannot be captured; then nothing is left behind.
            """
            ...

        def launch(self, graph: Any) -> None:
            """Queue a graph."""
            ...

        def drop(self, graph: Any) -> None:
            """Give a graph back."""
            ...

        def close(self) -> None:
            """Give back everything."""
            ...


CHOICES = ("libcudart", "cuda-python", "pycuda")


def open_cuda(choice: Optional[str] = None) -> Cuda:
    """Open the first GPU.

    Args:
        choice: one of ``CHOICES``; None: what ``EDGEKD_CUDA`` says, else "libcudart".

    Raises:
        AgentError: there is no such library, or no GPU.
    """
    chosen = choice or os.environ.get("EDGEKD_CUDA") or CHOICES[0]
    if chosen not in CHOICES:
        raise AgentError(
            "request",
            "EDGEKD_CUDA must be one of %s, but is '%s'" % (", ".join(CHOICES), chosen),
        )
    try:
        if chosen == "pycuda":
            from .pycuda import PyCuda

            return PyCuda()
        from .runtime import Runtime

        if chosen == "cuda-python":
            from .cuda_python import calls
        else:
            from .libcudart import calls
        library, call, graphs = calls()
        return Runtime(library, call, graphs=graphs)
    except ImportError as error:
        message = "EDGEKD_CUDA asks for '%s', which is missing here: %s" % (chosen, error)
        raise AgentError("engine", message) from error


def gpu() -> Dict[str, str]:
    """Return what the first GPU and its libraries are; see ``Cuda.gpu``.

    Raises:
        AgentError: there is none.
    """
    opened = open_cuda()
    try:
        return opened.gpu()
    finally:
        opened.close()
