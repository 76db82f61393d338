"""Engines for a board, built there from ONNX files, and kept for the next time.

They lie in ``$XDG_CACHE_HOME/edgekd/engines`` (``~/.cache``), for their owner alone. An engine is
found again only for the same ONNX file, sizes, board, TensorRT, release of Linux and power mode: in
another mode TensorRT would have chosen other kernels.
"""

import hashlib
import json
import os
from pathlib import Path

import onnx

from edgekd.core import catalogue, files
from edgekd.core.errors import ExportError, RecordError
from edgekd.core.progress import Progress
from edgekd.core.records import Shapes
from edgekd.export import metadata
from edgekd.export.formats import tensorrt
from edgekd.export.platform import Platform
from edgekd.lint import operators
from edgekd.remote import checkup, inventory, lines


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
        ExportError: TensorRT does not read its opset, or refuses it.
        DeviceError: the board cannot be reached, or has no TensorRT.
    """
    sizes = _sizes(model, batch)
    wishes = tensorrt.Wishes(profiles=sizes)
    told = checkup.ask(place)
    check_opset(f"'{model}'", _opset(model), version_of(told, "tensorrt"), place.name)
    folder = _folder() / _key(model, place, told, None if sizes is None else batch)
    plans = tuple(folder / f"{number}.plan" for number in range(1, count + 1))
    missing = [plan for plan in plans if not _usable(plan, model)]
    if missing:
        with progress.task(f"build {model.name} on {place.name}", len(missing)) as task:
            for plan in missing:
                plan.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                tensorrt.build(model, plan, wishes, reach=place.reach)
                task.advance(1)
    return plans


def version_of(told: lines.Probe, builder: str) -> str | None:
    """Return a board's version of TensorRT, such as "10.3.0"; None: it does not say."""
    version = told.engines.get(builder)
    if version in {None, "unknown"}:
        return told.jetson.tensorrt if told.jetson else None
    return version


def check_opset(what: str, opset: int, version: str | None, device: str) -> None:
    """Refuse an opset that a board's TensorRT does not read.

    Args:
        what: is written in it, for the message.
        opset: of ONNX.
        version: of TensorRT, such as "10.3.0"; None: not known, and all is taken.
        device: the board's name.

    Raises:
        ExportError: the opset is too old or too new; the message names the way out.
    """
    if version is None:
        return
    major, minor = map(int, version.split(".")[:2])
    first, _, last = operators.opsets((major, minor))
    if first <= opset <= last:
        return
    platforms = map(Platform.read, catalogue.names("profiles/platforms"))
    fitting = [each.name for each in platforms if f"{major}.{minor}" in each.tensorrt]
    choice = f"--platform {fitting[0]}" if fitting else "the --platform of its JetPack"
    raise ExportError(
        f"{what} is written in opset {opset}, but '{device}' has TensorRT {version}, which reads "
        f"opsets {first} to {last}: export with {choice} (`edgekd list platforms`)"
    )


def _opset(model: Path) -> int:
    written = onnx.load(str(model), load_external_data=False).opset_import
    return max(int(each.version) for each in written if each.domain in {"", "ai.onnx"})


def _sizes(model: Path, batch: int) -> dict[str, Shapes] | None:
    """Return the sizes of a free batch that the file's notes do not name; None: there are none."""
    notes = metadata.read(model)
    if notes.batch is not None or notes.profiles:
        return None
    shape = (batch, *notes.input_shape)
    return {notes.input_name: Shapes(min=shape, opt=shape, max=shape)}


def _key(model: Path, place: inventory.Place, told: lines.Probe, batch: int | None) -> str:
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
