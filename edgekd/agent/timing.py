"""Time single inferences, and warm up until their time no longer moves."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, Iterator, List, Sequence, Tuple, Union

_WINDOW_RUNS = 10  # at least
_WINDOW_RATIO = 0.1  # of the least warm-up, at least: what ramps up slower than a model runs shows
_WINDOWS = 3  # so many medians in a row must agree
_STEADY_RATIO = 0.03  # the drift that a measurement may show; windows that agree better are steady
_SETTLE_S = 0.005  # at the start of a turn: caches and clocks saw another model
_SETTLE_RUNS = 2
_REST_LIMIT_S = 1.0


def median(values: Sequence[float]) -> float:
    """Return the median of at least one value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2


def timed(run: Callable[[], object], runs: int) -> List[int]:
    """Call ``run`` and return the nanoseconds that each call took."""
    with _uncollected():
        return _samples(run, runs)


def together(lanes: Sequence[Callable[[], object]], runs: int) -> Tuple[List[int], int]:
    """Call each of ``lanes`` ``runs`` times, all lanes at once, each in a thread of its own.

    Args:
        lanes: at least one; their calls must not share buffers, and should release the GIL.
        runs: > 0, of each lane.

    Returns:
        The nanoseconds that each call took, lane after lane; and those from the common start to
        the end of the last lane.
    """
    if len(lanes) == 1:
        start = time.perf_counter_ns()
        return timed(lanes[0], runs), time.perf_counter_ns() - start
    gate = threading.Barrier(len(lanes))

    def lane(run: Callable[[], object]) -> Tuple[int, List[int], int]:
        gate.wait()
        start = time.perf_counter_ns()
        return start, _samples(run, runs), time.perf_counter_ns()

    with _uncollected(), ThreadPoolExecutor(len(lanes)) as pool:
        found = list(pool.map(lane, lanes))
    wall_ns = max(end for _, _, end in found) - min(start for start, _, _ in found)
    return [sample for _, samples, _ in found for sample in samples], wall_ns


def _samples(run: Callable[[], object], runs: int) -> List[int]:
    clock = time.perf_counter_ns
    samples = [0] * runs
    for index in range(runs):
        start = clock()
        run()
        samples[index] = clock() - start
    return samples


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector out: a collection inside a call would count as inference."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def is_steady(medians: List[float]) -> bool:
    """Tell whether the last windows agree."""
    last = medians[-_WINDOWS:]
    return len(last) == _WINDOWS and max(last) <= (1 + _STEADY_RATIO) * min(last)


def warm_up(
    run: Callable[[], object], min_s: float, max_s: float
) -> Dict[str, Union[int, float, bool]]:
    """Call ``run`` until its rolling medians agree, but for ``min_s`` at least.

    Clocks ramp up, caches fill and memory pools grow during the first calls; how long that takes
    differs between devices, so it is observed instead of assumed.

    Args:
        run: one inference.
        min_s: seconds, >= 0.
        max_s: seconds after which to stop all the same.

    Returns:
        "runs", "seconds" and "steady": False if ``max_s`` came first.
    """
    start = time.perf_counter()
    medians: List[float] = []
    runs = 0
    while True:
        window = _window(run, _WINDOW_RATIO * min_s)
        medians.append(median(window))
        runs += len(window)
        seconds = time.perf_counter() - start
        steady = is_steady(medians)
        if (steady and seconds >= min_s) or seconds >= max_s:
            return {"runs": runs, "seconds": seconds, "steady": steady}


def _window(run: Callable[[], object], least_s: float) -> List[int]:
    """Call ``run`` for ``least_s`` at least, and return the nanoseconds that each call took."""
    end = time.perf_counter() + least_s
    samples = timed(run, _WINDOW_RUNS)
    while time.perf_counter() < end:
        samples += timed(run, _WINDOW_RUNS)
    return samples


def settle(run: Callable[[], object]) -> None:
    """Make the first, untimed calls of a turn."""
    end = time.perf_counter() + _SETTLE_S
    runs = 0
    while runs < _SETTLE_RUNS or time.perf_counter() < end:
        run()
        runs += 1


def rest() -> None:
    """Return once the threads of this process sleep.

    ONNX Runtime's pool goes on spinning for some 30 ms after an inference; whoever is timed in
    that time has fewer cores.
    """
    end = time.perf_counter() + _REST_LIMIT_S
    while time.perf_counter() < end:
        busy = time.process_time()
        start = time.perf_counter()
        time.sleep(0.005)
        if time.process_time() - busy < 0.1 * (time.perf_counter() - start):
            return
