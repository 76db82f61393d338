"""One file an engine; each imports its runtime when it opens a model, and not before.

A module here is called like its engine and has ``DISTRIBUTIONS`` (the packages that may bring it),
``load_runtime()`` and ``open_model(path, threads) -> Model``.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from typing import TYPE_CHECKING, Any, Optional, Tuple

from ..protocol import AgentError

if TYPE_CHECKING:  # numpy may be missing where only `probe` is wanted
    from typing import Protocol

    import numpy as np

    class Model(Protocol):
        """A model file, opened by an engine: one float32 input, one float32 output."""

        input_shape: Tuple[Optional[int], ...]  # N, C, H, W; None: free
        batches: Tuple[int, Optional[int]]  # the fewest and the most images at once; None: any
        engine: str  # "onnxruntime 1.31.1, CPUExecutionProvider"

        def infer(self, images_nchw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            """Return the output for one batch."""
            ...

        def bind(self, images_nchw: np.ndarray[Any, Any]) -> None:
            """Fix input and output buffers for ``run``; the first inference must be done."""
            ...

        def run(self) -> None:
            """Run on the bound buffers: what is timed."""
            ...


_NAMES = ("onnxruntime", "tensorrt", "trtexec")  # a zipapp has no folder to list


def names() -> Tuple[str, ...]:
    """Return the engines that this agent can drive."""
    return _NAMES


def version(name: str) -> Optional[str]:
    """Return the installed version of an engine's runtime, without importing it; None: missing.

    "unknown": it is there, but no package manager says of which version.
    """
    module = _module(name)
    if hasattr(module, "version"):  # a program, not a package
        told: Optional[str] = module.version()
        return told
    for distribution in module.DISTRIBUTIONS:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None if importlib.util.find_spec(name) is None else "unknown"


def load_runtime(name: str) -> None:
    """Import an engine's runtime.

    Raises:
        AgentError: there is no such engine, or its runtime is missing.
    """
    if name not in _NAMES:
        raise AgentError(
            "request", "no engine is called '%s'. There are: %s." % (name, ", ".join(_NAMES))
        )
    try:
        _module(name).load_runtime()
    except ImportError as error:
        message = "the engine '%s' is missing on this machine: %s" % (name, error)
        raise AgentError("engine", message) from error


def open_model(name: str, path: str, threads: int) -> Model:
    """Open a model file.

    Raises:
        AgentError: no such engine, its runtime is missing, or the file cannot be used.
    """
    load_runtime(name)
    opened: Model = _module(name).open_model(path, threads)
    return opened


def _module(name: str) -> Any:
    return importlib.import_module("." + name, __name__)
