"""Measure several models in turns, so that heat, clocks and other programs hit all alike.

Each model has a worker process; only one works at a time. In round r the order of the models is
rotated by r, so none of them is always the first after a pause or the one behind a hot one.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import Any, Dict, List

from . import board, energy, landing, worker
from .protocol import emit, forward
from .recorder import Recorder
from .telemetry import allowed_cores, conditions, snapshot
from .workers import Worker, own_command


def order(subjects: int, turn: int) -> List[int]:
    """Return the order in which the subjects take their turns in round ``turn``.

    >>> order(3, 1)
    [1, 2, 0]
    """
    return [(place + turn) % subjects for place in range(subjects)]


def run(request: Dict[str, Any]) -> None:
    """Measure what a request asks for, and say what is found line by line.

    Request: "engine"; "images" (a .npy of float32 [B, C, H, W]); "threads"; "blocks"; "runs" (timed
    inferences in a block); "warm_up_s" ([least, most] seconds); "subjects" (each "name", "path");
    "energy" (optional: "blocks", and what ``energy.measure`` wants).

    "streams", else 1: inferences at once, each of which makes as many runs.

    Lines: "machine"; "conditions" before any model is opened and after the last round; for each
    subject "opened" and "warmed"; "telemetry" before and after each round; for each turn "block"
    ("subject", "block", "samples_ns", "wall_ns", "gpu_ns"); behind the last one "series" (sensors
    over time); for each subject "memory"; "progress" between them. With "energy" in the request,
    what ``energy.measure`` says after that, and "telemetry" once more.

    Raises:
        AgentError: a model that cannot be opened or run.
    """
    subjects = request["subjects"]
    total = len(subjects) * (1 + request["blocks"])
    least_s, most_s = request["warm_up_s"]
    emit("machine", machine=board.machine(), cores=len(allowed_cores()), boot_id=landing.boot_id())
    emit("conditions", **conditions())
    with ExitStack() as stack:
        workers: List[Worker] = []
        for index, subject in enumerate(subjects):
            command = own_command() + worker.arguments(subject, request)
            started = Worker(command, subject["name"])
            stack.callback(started.close)
            workers.append(started)
            forward(started.listen(), subject=index)
            warmed = started.ask("warm-up %r %r" % (least_s, most_s))
            forward(warmed, subject=index)
            _progress(index + 1, total, "warmed up " + subject["name"])
        emit("telemetry", **snapshot(_pids(workers)))
        if request["blocks"]:
            with closing(Recorder(power=True)) as recorder:
                _rounds(workers, request, total, recorder)
            recorder.tell()
        emit("conditions", **conditions())
        if request.get("energy"):
            turns = [order(len(workers), turn) for turn in range(request["energy"]["blocks"])]
            energy.measure(workers, turns, request["energy"])
            emit("telemetry", **snapshot(_pids(workers)))
        for index, ready in enumerate(workers):
            forward(ready.ask("memory"), subject=index)


def _rounds(workers: List[Worker], request: Dict[str, Any], total: int, recorder: Recorder) -> None:
    done = len(workers)
    for turn in range(request["blocks"]):
        for index in order(len(workers), turn):
            with recorder.turn(index):
                answer = workers[index].ask("block %d" % request["runs"])
            forward(answer, subject=index, block=turn)
            done += 1
            _progress(done, total, "%s, round %d" % (workers[index].name, turn + 1))
        emit("telemetry", **snapshot(_pids(workers)))


def _pids(workers: List[Worker]) -> List[int]:
    return [os.getpid()] + [ready.pid for ready in workers]


def _progress(done: int, total: int, note: str) -> None:
    emit("progress", done=done, total=total, note=note)
