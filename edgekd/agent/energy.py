"""Sample power while models run without a pause, in turns, and while nothing runs.

Latencies are not measured meanwhile: a turn here lasts for many readings of the sensor, which is
far slower than an inference. Statistics are the host's; it gets every reading and every stretch.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

from . import sensors
from .protocol import emit, forward
from .recorder import Recorder

if TYPE_CHECKING:
    from .workers import Worker

_FIRST = 3  # readings that tell the interval
_SILENT_INTERVALS = 20


class Sampler:
    """Reads a source in a thread of its own, and notes when.

    Args:
        source: is closed with this.
        interval_ms: between its readings.
        patience_s: for the first of them.
    """

    def __init__(self, source: sensors.Source, interval_ms: int, patience_s: float) -> None:
        self.rails: Tuple[str, ...] = ()
        self.times_ns: List[int] = []
        self.values: List[List[float]] = []
        self._source = source
        self._patience_s = patience_s
        self._silence_s = max(1.0, _SILENT_INTERVALS * interval_ms / 1000)
        self._begun_ns = time.monotonic_ns()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the source and the thread."""
        self._source.close()
        self._thread.join(self._patience_s)

    def wait(self) -> float:
        """Return the seconds between two readings, once the first ones are there.

        Raises:
            SensorError: they do not come.
        """
        end = time.monotonic() + self._patience_s
        while len(self.times_ns) < _FIRST and self._thread.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
        if len(self.times_ns) < _FIRST:
            self.check()
            raise sensors.SensorError(
                "%s told its power only %d times in %.1f s"
                % (self._source.name, len(self.times_ns), self._patience_s)
            )
        first, *_, last = self.times_ns[:_FIRST]
        interval_s = (last - first) / 1e9 / (_FIRST - 1)
        self._silence_s = max(self._silence_s, _SILENT_INTERVALS * interval_s)
        return interval_s

    def wait_beyond(self, time_ns: int) -> None:
        """Return when there is a reading that is later.

        Raises:
            SensorError: it does not come.
        """
        while self.times_ns[-1] <= time_ns:
            self.check()
            time.sleep(0.005)

    def check(self) -> None:
        """Check that the sensor still speaks.

        Raises:
            SensorError: it has ended or fallen silent.
        """
        name = self._source.name
        if not self._thread.is_alive():
            raise sensors.SensorError("%s ended after %d readings" % (name, len(self.times_ns)))
        if not self.times_ns:
            silent_s = (time.monotonic_ns() - self._begun_ns) / 1e9
            raise sensors.SensorError("%s told no power for %.1f s" % (name, silent_s))
        silent_s = (time.monotonic_ns() - self.times_ns[-1]) / 1e9
        if silent_s > self._silence_s:
            raise sensors.SensorError("%s fell silent for %.1f s" % (name, silent_s))

    def _listen(self) -> None:
        for reading in iter(self._source.read, None):
            now_ns = time.monotonic_ns()
            if reading and not self.rails:
                self.rails = tuple(sorted(reading))
            if reading and tuple(sorted(reading)) == self.rails:  # else a damaged one
                self.values.append([reading[rail] for rail in self.rails])
                self.times_ns.append(now_ns)


def measure(
    workers: Sequence[Worker], turns: Sequence[Sequence[int]], request: Dict[str, Any]
) -> None:
    """Let each model run in its turns beside the sensor, with idle stretches before and after.

    Request: "interval_ms" between readings, "patience_s" for the first ones, "settle_s" before each
    stretch (clocks and sensors lag behind), "run_s" (each turn), "idle_s" (each idle stretch); both
    last longer where the sensor is too slow for "readings" in that time.

    Lines: "stretch" for each turn ("subject", "block") and each idle stretch (both None),
    "progress" after each turn; "series", sensors over time; last "power": all readings, or the
    reason why there are none.
    """
    sampler: Optional[Sampler] = None
    try:
        source = sensors.open_source(request["interval_ms"])
        sampler = Sampler(source, request["interval_ms"], request["patience_s"])
        enough_s = request["readings"] * sampler.wait()
        run_s, idle_s = (max(request[name], enough_s) for name in ("run_s", "idle_s"))
        with closing(Recorder(power=False)) as recorder:  # a source may only start without threads
            _stretches(workers, turns, (request["settle_s"], run_s, idle_s), (sampler, recorder))
        recorder.tell()
        sampler.wait_beyond(time.monotonic_ns())  # a reading behind the last stretch
    except sensors.SensorError as error:
        emit("power", source=None, reason=str(error))
        return
    finally:
        if sampler is not None:
            sampler.close()
    emit(
        "power",
        source=source.name,
        unit=source.unit,
        rails=sampler.rails,
        times_ns=sampler.times_ns,
        values=sampler.values,
    )


def _stretches(
    workers: Sequence[Worker],
    turns: Sequence[Sequence[int]],
    seconds: Tuple[float, float, float],
    sensing: Tuple[Sampler, Recorder],
) -> None:
    settle_s, run_s, idle_s = seconds
    sampler, recorder = sensing
    total = sum(len(turn) for turn in turns)
    done = 0
    with recorder.turn(None):
        emit("stretch", subject=None, block=None, **_idle(settle_s, idle_s))
    for block, turn in enumerate(turns):
        for index in turn:
            with recorder.turn(index):
                answer = workers[index].ask("stretch %r %r" % (settle_s, run_s))
            forward(answer, subject=index, block=block)
            done += 1
            note = "%s, energy, round %d" % (workers[index].name, block + 1)
            emit("progress", done=done, total=total, note=note)
            sampler.check()
    with recorder.turn(None):
        emit("stretch", subject=None, block=None, **_idle(settle_s, idle_s))


def stretch(run: Callable[[], object], settle_s: float, run_s: float) -> Dict[str, int]:
    """Call ``run`` again and again, and return how often and when.

    Args:
        run: one inference.
        settle_s: seconds before what counts, >= 0.
        run_s: seconds that count, at least one call.

    Returns:
        "runs" between "start_ns" and "end_ns", of the clock that all processes share.
    """
    begin_ns = time.monotonic_ns() + round(1e9 * settle_s)
    start_ns = time.monotonic_ns()
    while start_ns < begin_ns:
        run()
        start_ns = time.monotonic_ns()
    end_ns, runs = start_ns, 0
    while end_ns < start_ns + 1e9 * run_s or not runs:
        run()
        runs += 1
        end_ns = time.monotonic_ns()
    return {"runs": runs, "start_ns": start_ns, "end_ns": end_ns}


def _idle(settle_s: float, idle_s: float) -> Dict[str, int]:
    time.sleep(settle_s)
    start_ns = time.monotonic_ns()
    time.sleep(idle_s)
    return {"runs": 0, "start_ns": start_ns, "end_ns": time.monotonic_ns()}
