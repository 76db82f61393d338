"""The time of each layer, in a run of its own: timing them slows the whole down."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
            ``edgekd explain-int8`` reads.

    Raises:
        RecordError: the file is no model for these images.
        DeviceError: the device fails, or its engine times no layers.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        images = Path(folder) / "images.npy"
        np.save(images, images_nchw)
        request = {
            "engine": place.device.engine,
            "model": errand.model(model),
            "images": Sent(images),
            "threads": threads,
            "runs": RUNS,
            "profile": Fetched(out),
        }
        with session.talk("layers", request, reach=place.reach) as said:
            for _ in said:
                pass
    times = [
        (layer.name, layer.mean_ms if layer.median_ms is None else layer.median_ms)
        for layer in read_profile(out).layers
    ]
    whole = sum(ms for _, ms in times) or 1.0
    rows = [Row(name, modules_of(name), ms, ms / whole) for name, ms in times]
    return tuple(sorted(rows, key=lambda row: -row.ms))


def modules_of(layer: str) -> tuple[str, ...]:
    """Return the PyTorch modules in a layer's name, which joins those of the nodes fused in it.

    >>> modules_of("layer1.0.conv1/Conv + layer1.0.relu/Relu")
    ('layer1.0.conv1', 'layer1.0.relu')
    """
    found = (module_of(node.strip()) for node in layer.split(" + "))
    return tuple(dict.fromkeys(name for name in found if name))
