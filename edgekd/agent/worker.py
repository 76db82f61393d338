"""One model in a process of its own, told over stdin when it is its turn.

So load time, cold start and peak memory are the model's own, and no pool of threads or cache
of another model is in the process that is timed. Ends when stdin does.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, Iterator, List, Optional

from . import energy, engines, timing
from .protocol import AgentError, emit
from .telemetry import memory_mib


def serve(engine: str, path: str, images: str, threads: int, streams: int) -> None:
    """Open a model, then do what each line of stdin says until it ends.

    Args:
        engine: its name.
        path: the model file.
        images: a .npy file, float32 [B, C, H, W]: one batch.
        threads: inside an operator.
        streams: how many batches are inferred at once; each has the model opened for itself.

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
    lanes = [model] + [engines.open_model(engine, path, threads) for _ in range(streams - 1)]
    for lane in lanes:
        if lane is not model:
            lane.infer(images_nchw)
        lane.bind(images_nchw)
    emit(
        "opened",
        engine=model.engine,
        load_ms=1000 * (opened - start),
        cold_ms=1000 * (cold - opened),
    )
    for words in _commands():
        _obey(words, lanes, threads, before_mib)


def _commands() -> Iterator[List[str]]:
    for line in iter(sys.stdin.readline, ""):
        yield line.split()


def _obey(words: List[str], lanes: List[Any], threads: int, before_mib: Optional[float]) -> None:
    if words[0] == "warm-up":
        for lane in lanes[1:]:
            timing.settle(lane.run)
        warmed = timing.warm_up(lanes[0].run, float(words[1]), float(words[2]))
        # Now: later other workers, too, take memory on the GPU.
        on_gpu = lanes[0].memory() if hasattr(lanes[0], "memory") else {}
        emit("warmed", **warmed, **on_gpu)
    elif words[0] == "block":
        times = _block(lanes, int(words[1]))
        if threads > 1:
            timing.rest()
        emit("block", **times)
    elif words[0] == "stretch":
        done = energy.stretch(lanes[0].run, float(words[1]), float(words[2]))
        if threads > 1:
            timing.rest()
        emit("stretch", **done)
    elif words[0] == "memory":
        peak_mib = memory_mib("VmHWM")
        known = None if peak_mib is None or before_mib is None else peak_mib - before_mib
        emit("memory", peak_mib=None if known is None else max(0.0, known))
    else:
        raise AgentError("request", "the worker knows no command '%s'" % words[0])


def _block(lanes: List[Any], runs: int) -> Dict[str, Any]:
    """Time a turn; where the GPU keeps time itself, that of as many further inferences, too."""
    for lane in lanes:
        timing.settle(lane.run)
    samples_ns, wall_ns = timing.together([lane.run for lane in lanes], runs)
    gpu_ns: List[int] = []
    if len(lanes) == 1 and hasattr(lanes[0], "computed_ms"):
        gpu_ns = [max(1, round(1e6 * lanes[0].computed_ms())) for _ in range(runs)]
    return {"samples_ns": samples_ns, "wall_ns": wall_ns, "gpu_ns": gpu_ns}


def arguments(subject: Dict[str, Any], request: Dict[str, Any]) -> List[str]:
    """Return the command line that serves ``subject``: the counterpart of ``serve``."""
    numbers = [str(request["threads"]), str(request.get("streams", 1))]
    return ["worker", request["engine"], subject["path"], request["images"], *numbers]
