"""Check a bundle: none of its files was changed, and the model answers as when it was made.

Needs Python 3.8, numpy and onnxruntime, and nothing else: ``python verify.py``, in the bundle's
folder or anywhere. Status: 0 all is as it was, 1 it is not.

``edgekd package`` puts this file into every bundle as verify.py.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

NEEDED = ("artifact.json", "golden.npz", "recipe.json", "verdict.json")


def main(folder: Path) -> int:
    """Check the bundle in a folder, say what was found, and return the exit status."""
    try:
        manifest, artifact = _read(folder / "manifest.json"), _read(folder / "artifact.json")
        lines = changed(folder, manifest["files"], artifact)
        good = not lines
        if good:
            good, line = answers(folder, artifact)
            lines = [line]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        good, lines = False, [f"this is no whole bundle: {type(error).__name__}: {error}"]
    except _refusals() as error:
        good, lines = False, [f"ONNX Runtime cannot run the model: {error}"]
    if good:
        lines.append(f"SHA-256 of manifest.json: {_sha256(folder / 'manifest.json')}")
    sys.stdout.write("\n".join([*lines, "OK" if good else "FAILED", ""]))
    return int(not good)


def changed(folder: Path, listed: Any, artifact: Any) -> list[str]:
    """Return a sentence for each file that is missing or is not the one of the manifest.

    Args:
        folder: of the bundle; README.md, verify.py and manifest.json itself are in no manifest.
        listed: path in the run -> {"sha256": ...}.
        artifact: the record of the model.
    """
    place = f"artifacts/{artifact['target']}/"
    paths = {path[len(place) :]: path for path in listed if path.startswith(place)}
    paths.update({path: path for path in ("ladder.json", *NEEDED) if path in listed})
    needed = (*NEEDED, artifact["file"])
    faults = [f"{name} is in no manifest" for name in needed if name not in paths]
    for name, path in sorted(paths.items()):
        file, expected = folder / name, listed[path]["sha256"]
        found = _sha256(file) if file.is_file() else "missing"
        if found != expected:
            faults.append(f"{name}: expected {expected}, found {found}")
    return faults


def answers(folder: Path, artifact: Any) -> tuple[bool, str]:
    """Run the model on the golden images; return whether its logits are the golden ones, in words.

    ONNX Runtime rounds in another way on another processor, so they need not be equal.
    """
    with np.load(str(folder / "golden.npz"), allow_pickle=False) as golden:
        images_nhwc, expected_nk = golden["images"], golden["logits"]
    rule = artifact["normalisation"]
    images_nchw = prepare(images_nhwc, rule["mean"], rule["std"])
    found_nk = logits(folder / artifact["file"], images_nchw)
    error = float(np.abs(found_nk - expected_nk).max() / expected_nk.std())
    same = int((found_nk.argmax(1) == expected_nk.argmax(1)).sum())
    limit = artifact["parity"]["tolerance"]
    return error <= limit, (
        f"golden pairs: the logits differ by up to {error:.2g} standard deviations, "
        f"allowed are {limit:.2g}; {same} of {len(expected_nk)} images have the same class"
    )


def prepare(images_nhwc: Any, mean: list[float], std: list[float]) -> Any:
    """Return (pixel / 255 - mean) / std, float32 [N, C, H, W], of uint8 [N, H, W, C]."""
    mean_c = np.asarray(mean, np.float32).reshape(-1, 1, 1)
    std_c = np.asarray(std, np.float32).reshape(-1, 1, 1)
    pixels_nchw = images_nhwc.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((pixels_nchw - mean_c) / std_c)


def logits(model: Path, images_nchw: Any) -> Any:
    """Return the logits [N, K] on this machine's processor."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else len(images_nchw)
    # A fixed batch may be larger than what is left: its last rows are of no image.
    missing = -len(images_nchw) % batch
    padded = np.concatenate([images_nchw, np.repeat(images_nchw[-1:], missing, axis=0)])
    rows = [
        session.run(None, {entry.name: padded[first : first + batch]})[0]
        for first in range(0, len(padded), batch)
    ]
    return np.concatenate(rows)[: len(images_nchw)]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _refusals() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: classes that have no common base."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented")
    return tuple(getattr(state, name) for name in names)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
