"""``edgekd doctor``: what this machine or a board has, and what is missing."""

import shutil
from dataclasses import asdict
from typing import Annotated

import typer

from edgekd.cli import console
from edgekd.cli.options import Inventory, Json
from edgekd.core.errors import DeviceError

NAME = "doctor"

_PACKAGES = {
    "onnxruntime": ("to run and measure models", "pip install edgekd"),
    "onnx": ("to write and read models", "pip install edgekd"),
    "torch": ("to train and export", "pip install 'edgekd[train]'"),
    "torchvision": ("for its classifiers", "pip install 'edgekd[train]'"),
    "torch-pruning": ("to prune", "pip install 'edgekd[train]'"),
    "accelerate": ("to train on several GPUs", "pip install 'edgekd[train]'"),
    "scikit-learn": ("for the digits images", "pip install 'edgekd[train]'"),
    "timm": ("for timm's classifiers", "pip install 'edgekd[timm]'"),
}


def command(
    device: Annotated[
        str | None, typer.Option(help="Look at this board, or host-cpu, as models are run there.")
    ] = None,
    inventory: Inventory = None,
    json: Json = False,
    gpu: Annotated[bool, typer.Option(help="Ask torch for GPUs (imports it: seconds).")] = True,
) -> None:
    """Say what this machine, or a board, has and what is missing.

    One line for each thing, with its mend. Status 4: the board cannot be reached, or lacks what
    measuring needs (numpy, its engine).

    Examples:
        edgekd doctor --json
        edgekd doctor --device line-3
    """
    if device is None:
        _show(_machine(gpu), json)
        return
    from edgekd.remote import checkup  # pydantic: not for `edgekd --help`

    findings = checkup.visit(device, inventory)
    _show([asdict(finding) for finding in findings], json)
    lacking = [finding.name for finding in findings if finding.prevents]
    if lacking:
        raise DeviceError(f"'{device}' lacks what measuring needs: {', '.join(lacking)}")


def _show(rows: list[dict[str, str]], json: bool) -> None:
    if json:
        console.result(rows)
    else:
        console.table(rows)


def _machine(gpu: bool) -> list[dict[str, str]]:
    from edgekd.core import provenance

    rows = [{"name": "machine", "state": "ok", "summary": provenance.machine()}]
    rows += [_package(name, *why) for name, why in _PACKAGES.items()]
    rows += [_compiler(), _sensor()]
    if gpu and rows[3]["state"] == "ok":
        rows.append(_gpu())
    return rows


def _package(name: str, purpose: str, mend: str) -> dict[str, str]:
    import importlib.metadata  # not for `edgekd --help`

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "state": "missing", "summary": f"needed {purpose}: {mend}"}
    return {"name": name, "state": "ok", "summary": version}


def _compiler() -> dict[str, str]:
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        mend = "torch.compile is left out, so training is slower: install g++ or clang++"
        return {"name": "C++ compiler", "state": "missing", "summary": mend}
    return {"name": "C++ compiler", "state": "ok", "summary": found}


def _sensor() -> dict[str, str]:
    from edgekd.agent import board
    from edgekd.remote import checkup  # pydantic: not for `edgekd --help`

    found = board.power()
    return asdict(checkup.sensor(found["power"], found["no_power"]))


def _gpu() -> dict[str, str]:
    try:
        import torch  # seconds: only where it is asked for
    except (ImportError, OSError) as error:  # OSError: a library that it needs
        broken = f"torch is installed, but cannot be imported: {error}. Install it anew"
        return {"name": "GPU", "state": "missing", "summary": broken}
    if not torch.cuda.is_available():
        return {"name": "GPU", "state": "missing", "summary": "training runs on the CPU"}
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"name": "GPU", "state": "ok", "summary": ", ".join(names)}
