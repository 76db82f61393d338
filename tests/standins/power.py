"""The stand-in for tegrastats on the PATH, and measurements as short as they can be."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from edgekd.profile import energy, local, sampling

PROGRAM = Path(__file__).parent / "tegrastats" / "tegrastats.py"


def install(patch: pytest.MonkeyPatch, folder: Path, fault: str = "") -> None:
    """Make the agent on this machine find a tegrastats; ``fault``: see there."""
    patch.setenv("PATH", f"{tools(folder, fault)}{os.pathsep}{os.environ['PATH']}")
    hasten(patch, fault)


def tools(folder: Path, fault: str = "") -> Path:
    """Return a new folder for the PATH, which has nothing but a tegrastats."""
    program = folder / "bin" / "tegrastats"
    program.parent.mkdir()
    words = shlex.join([sys.executable, "-S", str(PROGRAM)])
    program.write_text(
        f'#!/bin/sh\nexport STANDIN_TEGRASTATS_FAULT={shlex.quote(fault)}\nexec {words} "$@"\n'
    )
    program.chmod(0o755)
    return program.parent


def hasten(patch: pytest.MonkeyPatch, fault: str = "", settle_s: float = 0.03) -> None:
    """Let latency and energy be measured in seconds.

    A stand-in on a busy machine lags behind the load; ``settle_s`` gives it time.
    """
    patch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    for name, value in {
        "BLOCKS": 6, "INTERVAL_MS": 10, "PATIENCE_S": 5.0 if not fault else 1.0,
        "WARM_UP_S": (0.0, 0.05), "SETTLE_S": settle_s, "RUN_S": 0.2, "IDLE_S": 0.2,
    }.items():  # fmt: skip
        patch.setattr(sampling, name, value)
    patch.setattr(energy, "FEWEST_READINGS", 3)  # a busy machine must not fail a test
    patch.setattr(energy, "GAP_RATIO", 0.95)
