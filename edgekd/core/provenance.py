"""Say who made a record: command, versions, machine, seed."""

import contextlib
import importlib.metadata
import os
import platform
import re
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


def environment(seed: int | None = None) -> Provenance:
    """Return the same with the versions of all packages that edgekd can use and that are there."""
    there = []
    for requirement in _requirements():
        match = re.match(r"[\w.-]+", requirement)
        assert match is not None, "packages with nameless requirements cannot be installed"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(match[0])
            there.append(match[0])
    return stamp(*sorted(set(there)), seed=seed)


def machine() -> str:
    """Return the processor's model and the number of its cores, for people."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"


def _requirements() -> list[str]:
    """Return what edgekd's package asks for, but for its developers' tools."""
    try:
        found = importlib.metadata.requires("edgekd") or []
    except importlib.metadata.PackageNotFoundError:  # run from its folder, without installing it
        return ["numpy", "onnx", "onnxruntime", "torch"]
    return [requirement for requirement in found if "extra == 'dev'" not in requirement]


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
