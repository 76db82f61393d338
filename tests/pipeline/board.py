"""A board with a stand-in for TensorRT: an agent of this machine, or one behind a real sshd.

What its engines compute is ONNX Runtime's: they prove the way there and back, no accuracy.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.remote import sshd
from tests.standins.cudart import build as cudart

STANDINS = Path(__file__).parents[1] / "standins"
GPU = 'description = "A GPU of this machine"\nreach = "local"\nengine = "tensorrt"\n'
AWAY = GPU.replace('"local"', '"ssh"')


def here(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> str:
    """Let the agents of this machine find TensorRT, and return the device's name."""
    (folder / "gpu.toml").write_text(GPU)
    monkeypatch.setenv("EDGEKD_STANDIN_TRT", version)
    monkeypatch.setenv("EDGEKD_CUDART", str(cudart.library(folder)))
    monkeypatch.setenv("PYTHONPATH", str(STANDINS))
    return str(folder / "gpu.toml")


def away(folder: Path, server: sshd.Server, version: str) -> Path:
    """Return the inventory of a fleet whose board "bench" has TensorRT, behind sshd."""
    python = folder / "python"
    python.write_text(
        f"#!/bin/sh\nexport EDGEKD_STANDIN_TRT={version} PYTHONPATH={STANDINS}\n"
        f'export EDGEKD_CUDART={cudart.library(folder)}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (folder / "gpu.toml").write_text(AWAY)
    text = server.inventory("bench").read_text()
    text = text.replace('"host-cpu"', json.dumps(str(folder / "gpu.toml")))
    text = text.replace(json.dumps(server.python), json.dumps(str(python)))
    (folder / "devices.toml").write_text(text)
    return folder / "devices.toml"
