"""How long `edgekd --help` and `edgekd list` take: python benchmarks/startup.py.

Goal: under 0.3 s, and no torch. Writes benchmarks/results/startup.{json,md}.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edgekd.core import provenance

RUNS = 15
COMMANDS = [["--help"], ["list", "recipes"], ["list", "methods"], ["list", "models"], ["--version"]]
RESULTS = Path(__file__).parent / "results"


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    bare = [sys.executable, "-c", "pass"]
    rows = []
    for arguments in COMMANDS:
        command = [sys.executable, "-m", "edgekd", *arguments]
        seconds(command)  # once to warm the disk's cache
        pairs = [(seconds(command), seconds(bare)) for _ in range(RUNS)]
        ours = [pair[0] for pair in pairs]
        rows.append(
            {
                "command": " ".join(["edgekd", *arguments]),
                "median_s": statistics.median(ours),
                "min_s": min(ours),
                "max_s": max(ours),
                "over_bare_python_s": statistics.median(a - b for a, b in pairs),
            }
        )
    stamp = provenance.stamp("typer", "pydantic").model_dump(mode="json", exclude={"command"})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.json").write_text(json.dumps({**stamp, "rows": rows}, indent=2) + "\n")
    lines = [
        "# Start-up time",
        "",
        f"`python benchmarks/startup.py`, {RUNS} runs each, {stamp['machine']}.",
        "",
        "| command | median s | min | max | over a bare Python |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{row['command']}` | {row['median_s']:.3f} | {row['min_s']:.3f} | {row['max_s']:.3f} "
        f"| {row['over_bare_python_s']:.3f} |"
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "startup.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
