"""What recording temperatures, clocks and power beside a model costs it.

The worst case: model and recorder share one core. A worker runs blocks of inferences in turns with
the recorder and without it; files are those of an Orin Nano (tests/data/jetson), which a kernel
answers more slowly than this disk does. Means are compared, for a reading delays few inferences and
no median. Beside that: the processor's time that one reading takes. The goal: the upper end of the
ratio's 95 % interval is at most 1.01.

    python benchmarks/recorder_overhead.py [--blocks 40] [--runs 500]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
from profile_overhead import GOAL, NETS, WARM_UP_S, judged, write

from edgekd.agent import recorder, worker, workers
from edgekd.core import provenance, statistics
from edgekd.remote import session

TREE = Path(__file__).parents[1] / "tests" / "data" / "jetson" / "orin-nano-jp6"
RESULT = Path(__file__).parent / "results" / "recorder_overhead.json"
READINGS = 500


def reading_ms() -> float:
    """Return the processor's time of one reading, in ms."""
    with closing(recorder.Recorder(power=True, interval_ms=3_600_000, root=str(TREE))) as recorded:
        start = time.thread_time()
        for _ in range(READINGS):
            recorded.take()
        return 1000 * (time.thread_time() - start) / READINGS


def alternate(model: Path, image: Path, blocks: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each block's mean latency in ms, without the recorder and with it, [blocks, 1]."""
    request = {"engine": "onnxruntime", "images": str(image), "threads": 1}
    subject = {"name": model.stem, "path": str(model)}
    command = session.local_command() + worker.arguments(subject, request)
    found: dict[bool, list[float]] = {False: [], True: []}
    with closing(workers.Worker(command, model.stem)) as agent:
        agent.listen()
        agent.ask(f"warm-up {WARM_UP_S} {WARM_UP_S}")
        for turn in range(2 * blocks):
            recorded = turn % 2 == turn // 2 % 2  # who begins changes every time
            with ExitStack() as stack:
                if recorded:
                    stack.enter_context(closing(recorder.Recorder(power=True, root=str(TREE))))
                samples_ns = agent.ask(f"block {runs}")["samples_ns"]
            found[recorded].append(float(np.mean(samples_ns)) / 1e6)
    return np.array(found[False])[:, None], np.array(found[True])[:, None]


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cost_ms = reading_ms()
    with tempfile.TemporaryDirectory() as folder:
        model, image = write(NETS[1], Path(folder))
        plain, recorded = alternate(model, image, options.blocks, options.runs)
    ratio = statistics.ratio_of_medians(plain, recorded)
    assert ratio is not None, "at least 6 blocks"
    share = cost_ms / recorder.INTERVAL_MS
    print(
        f"{NETS[1].name}: mean {np.median(plain):.4f} ms, recorded {np.median(recorded):.4f} ms, "
        f"ratio {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}], goal <= {GOAL}: "
        f"{judged(ratio)}; a reading takes {cost_ms:.2f} ms, {share:.2%} of a core"
    )
    stamp = provenance.stamp("numpy", "onnxruntime").model_dump(mode="json")
    del stamp["command"]
    result = {
        "provenance": stamp,
        "load_average": os.getloadavg()[0],  # of other programs too: it widens the interval
        "goal": GOAL,
        "net": NETS[1].name,
        "blocks": options.blocks,
        "runs": options.runs,
        "plain_mean_ms": float(np.median(plain)),
        "recorded_mean_ms": float(np.median(recorded)),
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "state": judged(ratio),
        "reading_ms": cost_ms,
        "interval_ms": recorder.INTERVAL_MS,
        "share_of_a_core": share,
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["state"] == "reached" else 1


if __name__ == "__main__":
    sys.exit(main())
