"""How often the gate's answers are wrong, on simulated models whose truth is known.

Each row is a kind of model; the columns are the shares of simulated runs that passed, failed or
were inconclusive. A pass of a model at or above the limit is a miss; a failure of a model below it
is a false alarm. At the limit itself each should stay near 1 - confidence, 5 %.

The drop is judged as the gate judges it, by both of its intervals, and again with what most gates
do: compare the measured value with the margin. Whole gates, whose models all lie exactly at their
limits, are judged with and without Holm's correction.

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
from edgekd.core.records import Finding, Interval, State
from edgekd.core.rules import AccuracyRule
from edgekd.gate import decide
from edgekd.gate.rules import accuracy

CONFIDENCE = 0.95
MARGIN_PP = 1.0
LIMIT = 1.0  # of the latency ratio
SEED = 0
BLOCKS, RUNS = 20, 30
STATES = ("passed", "failed", "inconclusive")
RULE = AccuracyRule(margin=MARGIN_PP, confidence=CONFIDENCE)
DRAWN = AccuracyRule(margin=MARGIN_PP, confidence=CONFIDENCE, interval="bootstrap")
DISCORDANT = (0.01, 0.03, 0.08)


def accuracy_rows(trials: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(SEED)
    rows = []
    for images in (1_000, 10_000, 50_000):
        for discordant in DISCORDANT[1:]:
            for drop_pp in (0.0, 0.2, 0.5, 1.0, 1.5, 2.0):
                tables = draw(generator, images, discordant, drop_pp, trials)
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


def bootstrap_rows(trials: int) -> list[dict[str, Any]]:
    """Judge the same models by the score interval and by the paired bootstrap."""
    generator = np.random.default_rng(SEED)
    rows = []
    for images in (1_000, 10_000):
        for drop_pp in (0.0, 0.5, 1.0, 1.5, 2.0):
            tables = draw(generator, images, 0.03, drop_pp, trials)
            row: dict[str, Any] = {"images": images, "drop_pp": drop_pp}
            for name, rule in (("score", RULE), ("bootstrap", DRAWN)):
                states = Counter(judge_drop(*table[:2].tolist(), images, rule) for table in tables)
                found = shares(states)
                row |= {f"{name}_{state}": found[f"{state}_percent"] for state in STATES[:2]}
            rows.append(row)
    return rows


def needs() -> list[dict[str, Any]]:
    """How many images a margin takes, for a student that is as good as the teacher."""
    return [
        {
            "margin_pp": margin,
            **{
                f"{100 * discordant:.0f} %": statistics.images_needed(
                    margin / 100, discordant, confidence=CONFIDENCE
                )
                for discordant in DISCORDANT
            },
        }
        for margin in (0.5, 1.0, 2.0, 5.0)
    ]


def draw(
    generator: np.random.Generator, images: int, discordant: float, drop_pp: float, trials: int
) -> np.ndarray:
    """Return how many images are lost, gained, and neither, [trials, 3]."""
    drop = drop_pp / 100
    chances = [(discordant + drop) / 2, (discordant - drop) / 2, 1 - discordant]
    return generator.multinomial(images, chances, size=trials)


@functools.cache  # the same counts come up again and again
def judge_drop(lost: int, gained: int, images: int, rule: AccuracyRule = RULE) -> State:
    return accuracy.decide(lost, gained, images, rule)[1]


def gate_rows(trials: int) -> list[dict[str, Any]]:
    """Judge gates of so many artifacts, each of which loses exactly the margin."""
    generator = np.random.default_rng(SEED)
    images = 10_000
    rows = []
    for artifacts in (1, 4, 16):
        plain: Counter[str] = Counter()
        states: Counter[str] = Counter()
        for _ in range(trials):
            tables = draw(generator, images, 0.03, MARGIN_PP, artifacts)
            findings = [finding(*table[:2].tolist(), images) for table in tables]
            plain[decide.overall([found.state for found in findings])] += 1
            corrected = decide.corrected(findings, {"top1_drop_pp": 1 - CONFIDENCE})
            states[decide.overall([found.state for found in corrected])] += 1
        without = round(100 * plain["failed"] / trials, 1)
        rows.append(
            {"artifacts": artifacts, **shares(states), "failed_without_Holm_percent": without}
        )
    return rows


@functools.cache
def finding(lost: int, gained: int, images: int) -> Finding:
    state = judge_drop(lost, gained, images)
    p_value = 1 - statistics.non_inferiority_p_value(lost, gained, images, MARGIN_PP / 100)
    return decide.finding(
        "top1_drop_pp", RULE, "model", None, MARGIN_PP, state, "", p_value=p_value
    )


def latency_rows(trials: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(SEED)
    rows = []
    for machine, shared, own in (("quiet", 0.0, 0.005), ("drifting", 0.1, 0.015)):
        for ratio in (0.98, 0.99, 1.0, 1.01, 1.02):
            states: Counter[str] = Counter()
            naive = 0
            for trial in range(trials):
                found = measure(generator, ratio, shared, own, trial)
                states[decide.side(found, LIMIT)] += 1
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
            f"## By both intervals, 3 % discordant, {result['bootstrap']['trials']} runs a row",
            "",
            *table(result["bootstrap"]["rows"]),
            "",
            "## Images that a margin takes",
            "",
            "So many pass a student as good as the teacher in four of five cases, if this share of",
            "them is discordant: right by one of the two alone.",
            "",
            *table(result["needs"]),
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
            f"## Whole gates, {result['gates']['trials']} runs a row",
            "",
            "Each artifact loses exactly the margin, on 10,000 images of its own, 3 % of them",
            "discordant. Without a correction, the more artifacts the more gates fail by chance.",
            "",
            *table(result["gates"]["rows"]),
            "",
            "![How often a drop passes](gate_errors.svg)",
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


def svg(rows: list[dict[str, Any]]) -> str:
    """Draw the shares that passed (solid) and failed (dashed) over the true drop, at 3 %."""
    width, height, left, top, right, bottom = 640, 360, 56, 40, 150, 48
    across, down = width - left - right, height - top - bottom

    def at(drop_pp: float, percent: float) -> str:
        return f"{left + across * drop_pp / 2:.1f},{top + down * (1 - percent / 100):.1f}"

    what = f"Passed (solid) and failed (dashed); margin {MARGIN_PP:g} pp, 3 % discordant"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>How often a drop passes (solid) and fails (dashed)</title>",
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="20">{what}</text>',
        f'<polyline points="{at(MARGIN_PP, 0)} {at(MARGIN_PP, 100)}" stroke="#c33" fill="none"/>',
    ]
    for percent in (0, 5, 25, 50, 75, 100):
        start, stop = at(0, percent), at(2, percent)
        colour = "#c33" if percent == round(100 * (1 - CONFIDENCE)) else "#ddd"
        lines.append(f'<polyline points="{start} {stop}" stroke="{colour}" fill="none"/>')
        y = start.split(",")[1]
        lines.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{percent} %</text>')
    for drop in (0.0, 0.5, 1.0, 1.5, 2.0):
        x = at(drop, 0).split(",")[0]
        lines.append(f'<text x="{x}" y="{height - 28}" text-anchor="middle">{drop}</text>')
    middle = left + across / 2
    lines.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">true drop (pp)</text>')
    for place, (images, colour) in enumerate([(1_000, "#999"), (10_000, "#27c"), (50_000, "#111")]):
        chosen = [r for r in rows if (r["images"], r["discordant_percent"]) == (images, 3.0)]
        for state, dash in (("passed", ""), ("failed", ' stroke-dasharray="5 4"')):
            points = " ".join(at(r["drop_pp"], r[f"{state}_percent"]) for r in chosen)
            style = f'stroke="{colour}" stroke-width="2" fill="none"{dash}'
            lines.append(f'<polyline points="{points}" {style}/>')
        y = f"{top + 16 + 20 * place}"
        lines.append(
            f'<text x="{width - right + 12}" y="{y}" fill="{colour}">{images:,} images</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000, help="of each row")
    parser.add_argument(
        "--bootstrap-trials", type=int, default=500, help="of each with a bootstrap"
    )
    default = Path(__file__).parent / "results" / "gate_errors.json"
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    start = time.process_time()
    accuracy = accuracy_rows(arguments.trials)
    latency = latency_rows(arguments.bootstrap_trials)
    bootstrap = bootstrap_rows(arguments.bootstrap_trials)
    gates = gate_rows(arguments.trials)
    made = provenance.stamp("numpy", seed=SEED).model_dump(mode="json")
    made["command"] = ["python", "benchmarks/gate_errors.py", *sys.argv[1:]]
    result = {
        "provenance": made,
        "processor_seconds": round(time.process_time() - start, 1),
        "confidence": CONFIDENCE,
        "accuracy": {"margin_pp": MARGIN_PP, "trials": arguments.trials, "rows": accuracy},
        "bootstrap": {"trials": arguments.bootstrap_trials, "rows": bootstrap},
        "needs": needs(),
        "latency": {"limit": LIMIT, "trials": arguments.bootstrap_trials, "rows": latency},
        "gates": {"trials": arguments.trials, "rows": gates},
    }
    files.write_text(arguments.out, json.dumps(result, indent=2) + "\n")
    files.write_text(arguments.out.with_suffix(".md"), markdown(result))
    files.write_text(arguments.out.with_suffix(".svg"), svg(accuracy))
    print(markdown(result))


if __name__ == "__main__":
    main()
