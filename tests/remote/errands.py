"""Errands that the tests of boards send, and what they leave."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgekd.remote import lines, session
from edgekd.remote.errand import Fetched, Reach, Sent
from tests import nets
from tests.remote import network, sshd
from tests.standins import power


def listen(
    way: Reach, verb: str = "probe", request: Mapping[str, object] | None = None
) -> list[lines.Line]:
    with session.talk(verb, request, reach=way, silence_s=60) as said:
        return list(said)


def script(folder: Path, text: str) -> str:
    """Write a program that takes the place of the board's Python."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def to_infer(folder: Path) -> dict[str, object]:
    np.save(folder / "images.npy", np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1))
    return {
        "engine": "onnxruntime", "batch": 2, "threads": 1, "mean": [0.0], "std": [1 / 255],
        "model": Sent(nets.linear(folder / "a.onnx", np.eye(4), (1, 2, 2))),
        "images": Sent(folder / "images.npy"),
        "logits": Fetched(folder / "logits.npy"),
    }  # fmt: skip


def to_run(folder: Path) -> dict[str, object]:
    """Warm up for a minute: long enough to be disturbed."""
    np.save(folder / "images.npy", np.ones((1, 1, 2, 2), np.float32))
    model = nets.linear(folder / "a.onnx", np.eye(4), (1, 2, 2))
    return {
        "engine": "onnxruntime", "images": Sent(folder / "images.npy"), "threads": 1,
        "blocks": 4, "runs": 5, "warm_up_s": [60.0, 60.0],
        "subjects": [{"name": "a", "path": Sent(model)}],
    }  # fmt: skip


def agents(server: sshd.Server | network.Board, program: str = "agent.pyz") -> list[int]:
    """Return the processes of agents on the board, but for landings; or of what they start."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            place = str((path / "cwd").readlink())
            words = (path / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if place.startswith(str(server.board)) and program in [Path(word).name for word in words]:
            found.append(int(path.name))
    return found


def sensors(server: sshd.Server | network.Board) -> list[int]:
    return agents(server, power.PROGRAM.name)


def gone(server: sshd.Server | network.Board) -> bool:
    """Wait until nothing of an errand is left on the board, and say whether it came to that."""
    # The folder first: while a landing has one, it may still start an agent.
    return sshd.comes_true(lambda: not (server.left() or agents(server) or sensors(server)))
