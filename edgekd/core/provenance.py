"""Say who made a record: command, versions, machine, seed."""

import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from edgekd import __version__
from edgekd.core.records import Provenance


def stamp(*packages: str, seed: int | None = None) -> Provenance:
    """Return the provenance of something that is made now, by this process.

    Args:
        packages: distribution names whose versions matter to it.
        seed: of the random numbers that had a part in it.
    """
    versions = {"edgekd": __version__, "python": platform.python_version()}
    for package in packages:
        versions[package] = importlib.metadata.version(package)
    # The program's folder and name tell about a person's machine and nothing about the run.
    command = ("edgekd", *sys.argv[1:])
    return Provenance(
        made_at=datetime.now(UTC),
        command=command,
        versions=versions,
        machine=machine(),
        seed=seed,
    )


def machine() -> str:
    """Return the processor's model and the number of its cores, for people."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
