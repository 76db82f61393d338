"""A board with a stand-in for TensorRT: an agent of this machine, or one behind a real sshd.

What its engines compute is ONNX Runtime's: they prove the way there and back, no accuracy.
"""

import json
import os
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


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> str:
    """Do as ``here``, with a package manager's word for the version of TensorRT."""
    noted = folder / "packages" / f"tensorrt-{version}.dist-info" / "METADATA"
    noted.parent.mkdir(parents=True)
    noted.write_text(f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {version}\n")
    device = here(folder, monkeypatch, version)
    monkeypatch.setenv("PYTHONPATH", f"{STANDINS}{os.pathsep}{noted.parents[1]}")
    return device


def away(folder: Path, server: sshd.Server, version: str) -> Path:
    """Return the inventory of a fleet whose board "bench" has TensorRT, behind sshd."""
    python = _python(folder, version)
    (folder / "gpu.toml").write_text(AWAY)
    text = server.inventory("bench").read_text()
    text = text.replace('"host-cpu"', json.dumps(str(folder / "gpu.toml")))
    text = text.replace(json.dumps(server.python), json.dumps(str(python)))
    (folder / "devices.toml").write_text(text)
    return folder / "devices.toml"


def local(folder: Path, version: str) -> Path:
    """Return the inventory of a fleet whose board "bench" is this machine, with a Python there."""
    python = _python(folder, version)
    (folder / "gpu.toml").write_text(AWAY)
    (folder / "devices.toml").write_text(
        f'[bench]\nprofile = "gpu.toml"\nlocal = true\npython = {json.dumps(str(python))}\n'
    )
    return folder / "devices.toml"


def _python(folder: Path, version: str) -> Path:
    """Write a Python that alone finds TensorRT."""
    python = folder / "python"
    python.write_text(
        f"#!/bin/sh\nexport EDGEKD_STANDIN_TRT={version} PYTHONPATH={STANDINS}:$PYTHONPATH\n"
        f'export EDGEKD_CUDART={cudart.library(folder)}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return python
