"""Wall time of the README's two commands in a fresh clone: python benchmarks/readme.py.

Installing is counted; a second `make demo` shows that it is not done twice. Writes
benchmarks/results/readme.{json,md} and the demo's output, readme_demo.txt.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from edgekd.core import provenance

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
COMMANDS = [
    ("make demo, with installing", "demo"),
    ("make demo again", "demo"),
    ("make test", "test"),
]


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "edgekd"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for title, target in COMMANDS:
            start = time.perf_counter()
            done = subprocess.run(
                ["make", target], cwd=clone, capture_output=True, text=True, check=False
            )
            rows.append(
                {
                    "command": title,
                    "seconds": time.perf_counter() - start,
                    "status": done.returncode,
                }
            )
            print(title, f"{rows[-1]['seconds']:.0f} s, status {done.returncode}", flush=True)
            if title == "make demo again":
                (RESULTS / "readme_demo.txt").write_text(done.stdout)
            if target == "test":
                printed = done.stdout.strip().splitlines()
                rows[-1]["closing line"] = printed[-1].strip("= ")
                print(*(line for line in printed if line.startswith("FAILED")), sep="\n")
    stamp = provenance.stamp("torch").model_dump(mode="json", exclude={"command"})
    (RESULTS / "readme.json").write_text(json.dumps({**stamp, "rows": rows}, indent=2) + "\n")
    lines = ["# The README's commands in a fresh clone", "", f"{stamp['machine']}, once.", ""]
    lines += ["| command | seconds | status | |", "| --- | --- | --- | --- |"]
    for row in rows:
        closing = row.get("closing line", "")
        lines.append(f"| {row['command']} | {row['seconds']:.0f} | {row['status']} | {closing} |")
    (RESULTS / "readme.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
