"""One model in a process of its own, told over stdin when it is its turn.

So load time, cold start and peak memory are the model's own, and no pool of threads or cache
of another model is in the process that is timed. Ends when stdin does.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, Iterator, List

from . import engines, timing
from .protocol import AgentError, emit
from .telemetry import memory_mib


def serve(engine: str, path: str, images: str, threads: int) -> None:
    """Open a model, then do what each line of stdin says until it ends.

    Args:
        engine: its name.
        path: the model file.
        images: a .npy file, float32 [B, C, H, W]: one batch.
        threads: inside an operator.

    Raises:
        AgentError: the model cannot be opened or run on these images.
    """
    import numpy as np

    images_nchw = np.load(images, allow_pickle=False)
    engines.load_runtime(engine)  # belongs to neither the model's load time nor its memory
    before_mib = memory_mib("VmRSS")
    start = time.perf_counter()
    model = engines.open_model(engine, path, threads)
    opened = time.perf_counter()
    model.infer(images_nchw)
    cold = time.perf_counter()
    model.bind(images_nchw)
    emit(
        "opened",
        engine=model.engine,
        load_ms=1000 * (opened - start),
        cold_ms=1000 * (cold - opened),
    )
    for words in _commands():
        _obey(words, model, threads, before_mib)


def _commands() -> Iterator[List[str]]:
    for line in iter(sys.stdin.readline, ""):
        yield line.split()


def _obey(words: List[str], model: Any, threads: int, before_mib: Any) -> None:
    if words[0] == "warm-up":
        emit("warmed", **timing.warm_up(model.run, float(words[1]), float(words[2])))
    elif words[0] == "block":
        timing.settle(model.run)
        samples_ns = timing.timed(model.run, int(words[1]))
        if threads > 1:
            timing.rest()
        emit("block", samples_ns=samples_ns)
    elif words[0] == "memory":
        peak_mib = memory_mib("VmHWM")
        known = peak_mib is not None and before_mib is not None
        emit("memory", peak_mib=max(0.0, peak_mib - before_mib) if known else None)
    else:
        raise AgentError("request", "the worker knows no command '%s'" % words[0])


def arguments(subject: Dict[str, Any], request: Dict[str, Any]) -> List[str]:
    """Return the command line that serves ``subject``: the counterpart of ``serve``."""
    threads = str(request["threads"])
    return ["worker", request["engine"], subject["path"], request["images"], threads]
