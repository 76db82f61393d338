"""The time of each layer, in a run of its own: timing them slows the whole down."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.agent.layers import Profile
from edgekd.core import files
from edgekd.profile import precisions
from edgekd.profile.layers import module_of, read_profile
from edgekd.remote import errand, inventory, session
from edgekd.remote.errand import Fetched, Sent

RUNS = 50


@dataclass(frozen=True)
class Row:
    """A layer of an engine, or a node of the graph that ONNX Runtime runs."""

    layer: str
    modules: tuple[str, ...]  # of PyTorch, as far as the name tells
    ms: float  # median of an inference, or the mean where the engine does not say
    share: float  # of all layers' time, 0 to 1
    precision: str  # "int8", "fp32", "fp32 to int8"; "": the engine does not say


def measure(
    model: Path, images_nchw: NDArray[np.float32], place: inventory.Place, threads: int, out: Path
) -> tuple[Row, ...]:
    """Time the layers of a model and return them, longest first.

    Args:
        model: an ONNX file or an engine, as the place's engine takes it.
        images_nchw: one batch, normalised.
        place: where.
        threads: inside an operator; a GPU has its own.
        out: the file to write, in the form of trtexec's ``--exportProfile``, which
            ``edgekd explain-int8`` reads; each layer has its precision, too.

    Raises:
        RecordError: the file is no model for these images.
        DeviceError: the device fails, or its engine times no layers.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        images, times, told = (
            Path(folder) / name for name in ("images.npy", "times.json", "told.json")
        )
        np.save(images, images_nchw)
        request = {
            "engine": place.device.engine,
            "model": errand.model(model),
            "images": Sent(images),
            "threads": threads,
            "runs": RUNS,
            "profile": Fetched(times),
            "layers": Fetched(told),
        }
        with session.talk("layers", request, reach=place.reach) as said:
            for _ in said:
                pass
        _join(times, precisions.read(told), out)
    return _rows(read_profile(out))


def _join(times: Path, known: Mapping[str, str], out: Path) -> None:
    """Write the times of layers with the precision of each."""
    head, *rows = json.loads(times.read_bytes())
    rows = [{**row, "precision": known.get(row["name"], "")} for row in rows]
    files.write_text(out, json.dumps([head, *rows], indent=1))


def _rows(profile: Profile) -> tuple[Row, ...]:
    times = [one.mean_ms if one.median_ms is None else one.median_ms for one in profile.layers]
    whole = sum(times) or 1.0
    rows = [
        Row(layer.name, modules_of(layer.name), ms, ms / whole, layer.precision)
        for layer, ms in zip(profile.layers, times, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.ms))


def modules_of(layer: str) -> tuple[str, ...]:
    """Return the PyTorch modules in a layer's name, which joins those of the nodes fused in it.

    >>> modules_of("layer1.0.conv1/Conv + layer1.0.relu/Relu")
    ('layer1.0.conv1', 'layer1.0.relu')
    """
    found = (module_of(node.strip()) for node in layer.split(" + "))
    return tuple(dict.fromkeys(name for name in found if name))
