"""Engines for a board, built there from ONNX files, and kept for the next time.

They lie in ``$XDG_CACHE_HOME/edgekd/engines`` (``~/.cache``), for their owner alone. An engine is
found again only for the same ONNX file, sizes, board, TensorRT, release of Linux and power mode: in
another mode TensorRT would have chosen other kernels.
"""

import hashlib
import json
import os
from pathlib import Path

from edgekd.core import files
from edgekd.core.errors import DeviceError, RecordError
from edgekd.core.progress import Progress
from edgekd.core.records import Shapes
from edgekd.export import metadata
from edgekd.export.formats import tensorrt
from edgekd.remote import inventory, lines, session


def built(
    model: Path, place: inventory.Place, batch: int, count: int, progress: Progress
) -> tuple[Path, ...]:
    """Return engines of an ONNX file; those that are not there yet are built on the board.

    Args:
        model: its batch fixed, or free; then it is built for ``batch``, unless its notes name
            sizes.
        place: a board with TensorRT.
        batch: images at a time, > 0.
        count: how many, each built on its own: TensorRT times kernels, and chance has a part in it.
        progress: who is told how far it is.

    Raises:
        RecordError: no ONNX file.
        ExportError: TensorRT refuses it.
        DeviceError: the board cannot be reached, or has no TensorRT.
    """
    sizes = _sizes(model, batch)
    wishes = tensorrt.Wishes(profiles=sizes)
    folder = _folder() / _key(model, place, None if sizes is None else batch)
    plans = tuple(folder / f"{number}.plan" for number in range(1, count + 1))
    missing = [plan for plan in plans if not _usable(plan, model)]
    if missing:
        with progress.task(f"build {model.name} on {place.name}", len(missing)) as task:
            for plan in missing:
                plan.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                tensorrt.build(model, plan, wishes, reach=place.reach)
                task.advance(1)
    return plans


def _sizes(model: Path, batch: int) -> dict[str, Shapes] | None:
    """Return the sizes of a free batch that the file's notes do not name; None: there are none."""
    notes = metadata.read(model)
    if notes.batch is not None or notes.profiles:
        return None
    shape = (batch, *notes.input_shape)
    return {notes.input_name: Shapes(min=shape, opt=shape, max=shape)}


def _key(model: Path, place: inventory.Place, batch: int | None) -> str:
    with session.talk("probe", reach=place.reach) as said:
        told = next((line for line in said if isinstance(line, lines.Probe)), None)
    if told is None:
        raise DeviceError(f"'{place.name}' does not say what it is")
    jetson = told.jetson
    facts = {
        "onnx": files.sha256_of(model),
        "batch": batch,  # None: as the file says
        "place": place.name,
        "machine": told.machine,
        "tensorrt": told.engines.get("tensorrt"),
        "l4t": jetson and jetson.l4t,
        "power_mode": jetson and jetson.power_mode,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _usable(plan: Path, model: Path) -> bool:
    try:
        tensorrt.verify(plan, model)
    except RecordError:  # missing, damaged or another's: it is built anew
        return False
    return True


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "edgekd" / "engines"
