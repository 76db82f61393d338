"""How often the gate's answers are wrong, on simulated models whose truth is known.

Each row is a kind of model; the columns are the shares of simulated runs that passed, failed or
were inconclusive. A pass of a model at or above the limit is a miss; a failure of a model below it
is a false alarm. At the limit itself each should stay near 1 - confidence, 5 %.

The drop is judged as the gate judges it, and again with what most gates do: compare the measured
value with the margin.

    python benchmarks/gate_errors.py [--trials 1000] [--out benchmarks/results/gate_errors.json]
"""

import argparse
import functools
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.core import files, provenance, statistics
from edgekd.core.records import Interval
from edgekd.gate import rules

CONFIDENCE = 0.95
MARGIN_PP = 1.0
LIMIT = 1.0  # of the latency ratio
SEED = 0
BLOCKS, RUNS = 20, 30
STATES = ("passed", "failed", "inconclusive")


def accuracy_rows(trials: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(SEED)
    rows = []
    for images in (1_000, 10_000, 50_000):
        for discordant in (0.03, 0.08):
            for drop_pp in (0.0, 0.5, 1.0, 1.5, 2.0):
                drop = drop_pp / 100
                chances = [(discordant + drop) / 2, (discordant - drop) / 2, 1 - discordant]
                tables = generator.multinomial(images, chances, size=trials)
                states = Counter(judge_drop(*table[:2].tolist(), images) for table in tables)
                naive = np.mean(100 * (tables[:, 0] - tables[:, 1]) / images <= MARGIN_PP)
                rows.append(
                    {
                        "images": images,
                        "discordant_percent": 100 * discordant,
                        "drop_pp": drop_pp,
                        **shares(states),
                        "value_below_margin_percent": round(100 * float(naive), 1),
                    }
                )
    return rows


@functools.cache  # the same counts come up again and again
def judge_drop(lost: int, gained: int, images: int) -> str:
    drop = statistics.paired_difference(lost, gained, images, 2 * CONFIDENCE - 1)
    return rules.side(drop, MARGIN_PP / 100)


def latency_rows(trials: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(SEED)
    rows = []
    for machine, shared, own in (("quiet", 0.0, 0.005), ("drifting", 0.1, 0.015)):
        for ratio in (0.98, 0.99, 1.0, 1.01, 1.02):
            states: Counter[str] = Counter()
            naive = 0
            for trial in range(trials):
                found = measure(generator, ratio, shared, own, trial)
                states[rules.side(found, LIMIT)] += 1
                naive += found.value <= LIMIT
            rows.append(
                {
                    "machine": machine,
                    "true_ratio": ratio,
                    **shares(states),
                    "value_below_limit_percent": round(100 * naive / trials, 1),
                }
            )
    return rows


def measure(
    generator: np.random.Generator, ratio: float, shared: float, own: float, seed: int
) -> Interval:
    """Simulate blocks in turns: the machine's state is shared, each block has its own level."""
    state = np.cumsum(generator.normal(0, shared / np.sqrt(BLOCKS), size=(BLOCKS, 1)), axis=0)

    def blocks(median: float) -> np.ndarray:
        level = state + generator.normal(0, own, size=(BLOCKS, 1))
        noise = generator.lognormal(-4, 0.8, size=(BLOCKS, RUNS))  # one-sided, a long tail
        samples: np.ndarray = median * np.exp(level) * (1 + noise)
        return samples

    two_sided = 2 * CONFIDENCE - 1
    found = statistics.ratio_of_medians(blocks(1.0), blocks(ratio), two_sided, seed)
    assert found is not None, "BLOCKS are enough"
    return found


def shares(states: Counter[str]) -> dict[str, float]:
    return {f"{state}_percent": round(100 * states[state] / states.total(), 1) for state in STATES}


def markdown(result: dict[str, Any]) -> str:
    accuracy, latency = result["accuracy"], result["latency"]
    made = result["provenance"]
    return "\n".join(
        [
            "# How often the gate errs",
            "",
            "Simulated runs of models whose truth is known, in percent of the runs. A pass at or",
            "above the limit is a miss, a failure below it a false alarm; at the limit itself each",
            f"may happen in {100 * (1 - result['confidence']):.0f} % of the runs. The last column",
            "is what a gate would pass that compares the measured value with the limit.",
            "",
            f"## top1_drop_pp, margin {accuracy['margin_pp']} pp, {accuracy['trials']} runs a row",
            "",
            *table(accuracy["rows"]),
            "",
            (
                f"## latency_ratio, limit {latency['limit']}, {BLOCKS} blocks of {RUNS} runs, "
                f"{latency['trials']} runs a row"
            ),
            "",
            "Noise has a long tail; blocks have levels of their own (0.5 % quiet, 1.5 % drifting),",
            "and the drifting machine's state wanders by 10 %.",
            "",
            *table(latency["rows"]),
            "",
            (
                f"Made by `{' '.join(made['command'])}` in {result['processor_seconds']:.0f} s of "
                f"processor time, seed {made['seed']}, {made['machine']}, {made['made_at'][:10]}."
            ),
            "",
        ]
    )


def table(rows: list[dict[str, Any]]) -> list[str]:
    heads = [key.removesuffix("_percent").replace("_", " ") for key in rows[0]]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---:" for _ in heads) + " |"]
    return lines + ["| " + " | ".join(f"{cell}" for cell in row.values()) + " |" for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="of each accuracy row")
    parser.add_argument("--latency-trials", type=int, default=200, help="of each latency row")
    default = Path(__file__).parent / "results" / "gate_errors.json"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    start = time.process_time()
    accuracy = accuracy_rows(arguments.trials)
    latency = latency_rows(arguments.latency_trials)
    made = provenance.stamp("numpy", seed=SEED).model_dump(mode="json")
    made["command"] = ["python", "benchmarks/gate_errors.py", *sys.argv[1:]]
    result = {
        "provenance": made,
        "processor_seconds": round(time.process_time() - start, 1),
        "confidence": CONFIDENCE,
        "accuracy": {"margin_pp": MARGIN_PP, "trials": arguments.trials, "rows": accuracy},
        "latency": {"limit": LIMIT, "trials": arguments.latency_trials, "rows": latency},
    }
    files.write_text(arguments.out, json.dumps(result, indent=2) + "\n")
    files.write_text(arguments.out.with_suffix(".md"), markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
