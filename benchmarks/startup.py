"""How long `edgekd --help`, `list`, `gate` and `verify` take: python benchmarks/startup.py RUN.

RUN is the folder of a run of the demo, to be judged and verified. Goal: under 0.3 s, and for the
gate 0.5 s, without torch. Other programs on the machine lengthen the wall time, so the processor's
is given, too. Writes benchmarks/results/startup.{json,md}.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edgekd.core import provenance

RUNS = 15
COMMANDS = [["--help"], ["list", "recipes"], ["list", "methods"], ["list", "models"], ["--version"]]
RESULTS = Path(__file__).parent / "results"


def seconds(command: list[str]) -> tuple[float, float]:
    """Return wall and processor time; a verdict of any kind is no error."""
    before, start = _processor(), time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode not in (0, 1, 3):
        sys.exit(done.stderr.decode())
    return time.perf_counter() - start, _processor() - before


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a run")
    run = parser.parse_args().run
    bare = [sys.executable, "-c", "pass"]
    rows = []
    for arguments in [*COMMANDS, ["gate", "RUN"], ["verify", "RUN"]]:
        given = [run if argument == "RUN" else argument for argument in arguments]
        command = [sys.executable, "-m", "edgekd", *given]
        seconds(command)  # once to warm the disk's cache
        pairs = [(seconds(command), seconds(bare)) for _ in range(RUNS)]
        walls = [ours[0] for ours, _ in pairs]
        rows.append(
            {
                "command": " ".join(["edgekd", *arguments]),
                "median_s": statistics.median(walls),
                "min_s": min(walls),
                "max_s": max(walls),
                "over_bare_python_s": statistics.median(a[0] - b[0] for a, b in pairs),
                "processor_s": statistics.median(ours[1] for ours, _ in pairs),
            }
        )
    stamp = provenance.stamp("typer", "pydantic").model_dump(mode="json", exclude={"command"})
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.json").write_text(json.dumps({**stamp, "rows": rows}, indent=2) + "\n")
    lines = [
        "# Start-up time",
        "",
        f"`python benchmarks/startup.py RUN`, {RUNS} runs each, {stamp['machine']}.",
        "",
        "| command | median s | min | max | over a bare Python | of the processor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| `{row['command']}` | {row['median_s']:.3f} | {row['min_s']:.3f} | {row['max_s']:.3f} "
        f"| {row['over_bare_python_s']:.3f} | {row['processor_s']:.3f} |"
        for row in rows
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "startup.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
