"""What the agent adds to the latency that it measures, against a bare ONNX Runtime loop.

Both do the same work: the same model and image, one thread, the same session options, bound
buffers, no garbage collection, and 5 ms of untimed inferences before each turn. Each is in a
process of its own, started anew for every repetition, because memory then lies elsewhere; they take
turns, and who begins changes. What differs is what is in question: the agent's own code and its
interpreter's state. The goal: the upper end of the ratio's 95 % interval is at most 1.01.

    python benchmarks/profile_overhead.py [--restarts 12] [--blocks 60] [--runs 5]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgekd.agent import worker, workers
from edgekd.core import provenance, statistics
from edgekd.core.records import Interval
from edgekd.remote import session

GOAL = 1.01
RESULT = Path(__file__).parent / "results" / "profile_overhead.json"

# The whole of what the agent is compared with: the same work, written down as plainly as possible.
BARE = """
import gc, sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
image = numpy.load(sys.argv[2])
(source,), (sink,) = session.get_inputs(), session.get_outputs()
output = session.run([sink.name], {source.name: image})[0]
binding = session.io_binding()
binding.bind_cpu_input(source.name, image)
binding.bind_output(sink.name, "cpu", 0, numpy.float32, output.shape, output.ctypes.data)
gc.disable()
for line in sys.stdin:
    untimed_s, runs = float(line.split()[0]), int(line.split()[1])
    end = time.perf_counter() + untimed_s
    while time.perf_counter() < end:
        session.run_with_iobinding(binding)
    samples = [0] * runs
    for index in range(runs):
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        samples[index] = time.perf_counter_ns() - start
    print(*samples, flush=True)
"""
WARM_UP_S = 0.2
SETTLE_S = 0.005  # as the agent's timing.settle


@dataclass(frozen=True)
class Net:
    """A stack of 3x3 convolutions."""

    name: str
    size: int  # pixels
    channels: int
    layers: int


# About as much work as the digits' and the CIFAR student.
NETS = (Net("digits-sized", 8, 16, 6), Net("cifar-sized", 32, 32, 12))


@dataclass(frozen=True)
class Outcome:
    """One net's latencies."""

    net: str
    bare_p50_ms: float
    agent_p50_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    blocks: int
    runs: int
    state: str  # "reached", "exceeded", or "inconclusive": the interval holds the goal


def write(net: Net, folder: Path) -> tuple[Path, Path]:
    """Write the model and one image; return their files."""
    generator = np.random.default_rng(0)
    nodes, constants, source, depth = [], [], "images", 3
    for layer in range(net.layers):
        weights = generator.standard_normal((net.channels, depth, 3, 3), dtype=np.float32) / 8
        constants.append(onnx.numpy_helper.from_array(weights, f"w{layer}"))
        inputs = [source, f"w{layer}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        source, depth = f"r{layer}", net.channels
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits"]))
    shape = (1, 3, net.size, net.size)
    graph = helper.make_graph(
        nodes,
        net.name,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, net.channels))],
        constants,
    )
    model, image = folder / f"{net.name}.onnx", folder / f"{net.name}.npy"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), model)
    np.save(image, generator.standard_normal(shape, dtype=np.float32))
    return model, image


def alternate(model: Path, image: Path, blocks: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return bare and agent latencies in ms, [blocks, runs] each, from one pair of processes."""
    request = {"engine": "onnxruntime", "images": str(image), "threads": 1}
    subject = {"name": model.stem, "path": str(model)}
    command = session.local_command() + worker.arguments(subject, request)
    agent = workers.Worker(command, model.stem)
    bare = subprocess.Popen(
        [sys.executable, "-c", BARE, str(model), str(image)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        agent.listen()
        agent.ask(f"warm-up {WARM_UP_S} {WARM_UP_S}")
        ask_bare(bare, WARM_UP_S, runs)
        theirs, ours = [], []
        for turn in range(blocks):
            for first in (turn % 2 == 0, turn % 2 == 1):  # who begins changes every time
                if first:
                    theirs.append(ask_bare(bare, SETTLE_S, runs))
                else:
                    ours.append(agent.ask(f"block {runs}")["samples_ns"])
    finally:
        agent.close()
        bare.kill()
        bare.communicate()
    return np.array(theirs) / 1e6, np.array(ours) / 1e6


def ask_bare(bare: subprocess.Popen[str], untimed_s: float, runs: int) -> list[int]:
    assert bare.stdin is not None
    assert bare.stdout is not None
    bare.stdin.write(f"{untimed_s} {runs}\n")
    bare.stdin.flush()
    return [int(sample) for sample in bare.stdout.readline().split()]


def compare(net: Net, folder: Path, restarts: int, blocks: int, runs: int) -> Outcome:
    model, image = write(net, folder)
    pairs = [alternate(model, image, blocks, runs) for _ in range(restarts)]
    bare = np.concatenate([pair[0] for pair in pairs])
    agent = np.concatenate([pair[1] for pair in pairs])
    ratio = statistics.ratio_of_medians(bare, agent)
    assert ratio is not None, "at least 6 blocks in all"
    return Outcome(
        net=net.name,
        bare_p50_ms=float(np.median(bare)),
        agent_p50_ms=float(np.median(agent)),
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        blocks=len(bare),
        runs=runs,
        state=judged(ratio),
    )


def judged(ratio: Interval) -> str:
    if ratio.high <= GOAL:
        return "reached"
    return "exceeded" if ratio.low > GOAL else "inconclusive"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--restarts", type=int, default=12)
    parser.add_argument("--blocks", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = (options.restarts, options.blocks, options.runs)
        outcomes = [compare(net, Path(folder), *sizes) for net in NETS]
    for found in outcomes:
        print(
            f"{found.net:<13} bare {found.bare_p50_ms:.4f} ms, agent {found.agent_p50_ms:.4f} ms, "
            f"ratio {found.ratio:.4f} [{found.ratio_low:.4f}, {found.ratio_high:.4f}], "
            f"goal <= {GOAL}: {found.state}"
        )
    stamp = provenance.stamp("numpy", "onnxruntime").model_dump(mode="json")
    del stamp["command"]
    result = {
        "provenance": stamp,
        "load_average": os.getloadavg()[0],  # of other programs too: it widens the intervals
        "goal": GOAL,
        "nets": [asdict(found) for found in outcomes],
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(found.state == "reached" for found in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
