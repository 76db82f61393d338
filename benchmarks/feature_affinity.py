"""What feature affinity costs with all P * P affinities (FA), and with random vectors alone (FFA).

One step is a forward and a backward pass over 16 images of 64 channels, on one core. Each case
runs in a process of its own; its memory is the process's peak beyond what it held after a small
step of the same kind.

    python benchmarks/feature_affinity.py [--repeats 3]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from edgekd.core import provenance
from edgekd.distill.method import Outputs, Step
from edgekd.distill.methods.fa import FeatureAffinity
from edgekd.models.surgery import Surgery

IMAGES, CHANNELS = 16, 64
SIDES = (8, 16, 28, 56)
WHOLE = 10**9  # positions: no map is averaged down
CASES = {
    "FA": {"form": "fa1", "max_positions": WHOLE},
    "FA, at most 16x16": {"form": "fa1"},
    "FFA, 15 vectors": {"form": "ffa2"},
}
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Outcome:
    """What one case took."""

    case: str
    side: int  # maps of side x side positions
    median_ms: float
    least_ms: float
    most_ms: float
    peak_mib: float


def step(method: FeatureAffinity, side: int) -> float:
    """Do one step and return its time in milliseconds."""
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, CHANNELS, side, side)
    student_nchw = torch.randn(shape, generator=generator).relu_().requires_grad_()
    teacher_nchw = torch.randn(shape, generator=generator).relu_()
    logits_nk = torch.zeros(IMAGES, 2)
    pair = [Outputs(logits_nk, {"map": each}) for each in (student_nchw, teacher_nchw)]
    method.prepare(*pair, Surgery.none())
    start = time.perf_counter()
    method(*pair, None, Step(0, 1, generator))["fa"].backward()
    return 1000 * (time.perf_counter() - start)


def measure(case: str, side: int, repeats: int) -> Outcome:
    torch.set_num_threads(1)
    method = FeatureAffinity(**CASES[case])  # type: ignore[arg-type]  # options of three kinds
    step(method, 2)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times_ms = [step(method, side) for _ in range(repeats)]
    after_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Outcome(
        case,
        side,
        statistics.median(times_ms),
        min(times_ms),
        max(times_ms),
        (after_kib - before_kib) / 1024,
    )


def table(outcomes: list[Outcome], machine: str, load: float) -> str:
    how = (
        f"Made by `benchmarks/feature_affinity.py` on {machine}, one thread, float32, {IMAGES} "
        f"images of {CHANNELS} channels, forward and backward. Load average before: {load:.1f}; "
        "what other programs took lengthens the times."
    )
    lines = [
        "# Feature affinity: what it costs",
        "",
        how,
        "",
        "| maps | form | ms, median | least to most | peak memory, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.side}x{each.side} | {each.case} | {each.median_ms:.1f} | "
        f"{each.least_ms:.1f} to {each.most_ms:.1f} | {each.peak_mib:.0f} |"
        for each in outcomes
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", nargs=2, metavar=("NAME", "SIDE"), help="One, as JSON.")
    options = parser.parse_args()
    if options.case:
        name, side = options.case
        print(json.dumps(asdict(measure(name, int(side), options.repeats))))
        return
    load = os.getloadavg()[0]
    outcomes = []
    for side in SIDES:
        for name in CASES:
            command = [sys.executable, __file__, "--repeats", str(options.repeats)]
            command += ["--case", name, str(side)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            outcomes.append(Outcome(**json.loads(done.stdout)))
    stamp = provenance.stamp("torch").model_dump(mode="json")
    del stamp["command"]
    result = {
        "provenance": stamp,
        "load_average": load,
        "outcomes": [asdict(each) for each in outcomes],
    }
    (RESULTS / "feature_affinity.json").write_text(json.dumps(result, indent=2) + "\n")
    page = table(outcomes, str(stamp["machine"]), load)
    (RESULTS / "feature_affinity.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
