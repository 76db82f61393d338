"""The whole job under torchrun, with two processes on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.core import records, run_folder

from .conftest import SMALL


@pytest.mark.slow
def test_two_processes_do_one_run_together(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = [part for setting in SMALL for part in ("--set", setting)]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
        "-m", "edgekd", "run", "digits", "--out", str(folder), *settings,
    ]  # fmt: skip
    environment = dict(os.environ, OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    run = run_folder.read(folder)
    assert run.verdict is not None, done.stderr[-2000:]
    assert done.returncode in {0, 1, 3}, done.stderr[-2000:]
    ledger = records.read(records.Ledger, folder / "ledger.json")
    names = [step.name for step in ledger.steps]
    assert len(names) == len(set(names))
    assert done.stdout.count("verdict:") == 1  # the first process alone speaks
