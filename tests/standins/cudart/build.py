"""Compile the stand-in for libcudart."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("cudart.c")


def library(folder: Path, *flags: str) -> Path:
    """Write libcudart.so into ``folder`` and return its path."""
    path = folder / "libcudart.so"
    command = ["gcc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", *flags, "-o", path, SOURCE]
    subprocess.run(command, check=True)
    return path
