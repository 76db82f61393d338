"""The ranges of tensors, from what a float ONNX model computes on calibration images."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekd.core import records
from edgekd.core.errors import DataError, ExportError
from edgekd.core.records import Record
from edgekd.quantize.calibrator import create

MEMORY_BYTES = 256 * 2**20  # of the tensors that one run returns


class Range(NamedTuple):
    """The values that a tensor can take; low <= 0 <= high."""

    low: float
    high: float


class Watcher(Protocol):
    """Whoever wants to see a tensor's values."""

    def observe(self, values: NDArray[np.float32]) -> None:
        """Take note of finite values, of any shape."""
        ...


class Ranges(Record):
    """Stored ranges; the model that they belong to is the record's parent."""

    calibrator: str
    images: int
    low_high: dict[str, tuple[float, float]]  # by tensor


def calibrate(
    model: Path,
    tensors: list[str],
    batches: Iterable[NDArray[np.float32]],
    calibrator: str,
    options: Mapping[str, object] | None = None,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> dict[str, Range]:
    """Run a model on images and let a calibrator settle the range of each tensor.

    Memory is bounded: images are cut into runs whose tensors together stay below ``memory_bytes``;
    where one image alone exceeds it, the tensors are fetched group by group.

    Args:
        model: float ONNX file with one input [N, C, H, W].
        tensors: the input or tensors in the graph.
        batches: prepared images [B, C, H, W], read once.
        calibrator: "minmax", "entropy", "percentile" or "mse".
        options: of the calibrator.
        memory_bytes: see above.

    Raises:
        UsageError: no such calibrator, or no such option.
        DataError: no images, or pixels that are not finite.
        ExportError: a tensor is not in the model, or not finite on these images.
    """
    seen = {name: create(calibrator, options) for name in tensors}
    for _ in observe(model, seen, batches, memory_bytes=memory_bytes):
        pass
    return {name: Range(*watcher.range()) for name, watcher in seen.items()}


def observe(
    model: Path,
    watchers: Mapping[str, Watcher],
    batches: Iterable[NDArray[np.float32]],
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[int]:
    """Show the values of each tensor to its watcher; yield the images so far after each batch.

    Args and raises: as ``calibrate``.
    """
    reader = _Reader(model, list(watchers), memory_bytes)
    images = 0
    for images_nchw in batches:
        if not np.isfinite(images_nchw).all():
            raise DataError("calibration images hold values that are not finite")
        images += len(images_nchw)
        for name, values in reader.values(images_nchw):
            if not np.isfinite(values).all():
                raise ExportError(
                    f"tensor '{name}' is not finite on calibration images: the checkpoint "
                    "overflows, so no range can hold it"
                )
            watchers[name].observe(values)
        yield images
    if not images:
        raise DataError("there are no calibration images")


def random_batches(
    input_shape: tuple[int, int, int], images: int, seed: int, batch: int = 32
) -> Iterator[NDArray[np.float32]]:
    """Yield standard normal "images" [B, C, H, W]: enough to time a model, not to judge it."""
    generator = np.random.default_rng(seed)
    for first in range(0, images, batch):
        size = min(batch, images - first)
        yield generator.standard_normal((size, *input_shape), dtype=np.float32)


def save(path: Path, ranges: Ranges) -> None:
    """Write ranges as JSON."""
    records.write(ranges, path)


def load(path: Path) -> Ranges:
    """Read ranges.

    Raises:
        RecordError: they cannot be read.
    """
    return records.read(Ranges, path)


class _Reader:
    """Runs a model with tensors of its inside as outputs."""

    def __init__(self, path: Path, tensors: list[str], memory_bytes: int) -> None:
        model = onnx.load(str(path))
        self._input = model.graph.input[0].name
        self._from_images = self._input in tensors
        computed = {name for node in model.graph.node for name in node.output}
        for name in tensors:
            if name not in computed and name != self._input:
                raise ExportError(f"'{path}' has no tensor '{name}'")
        inside = [name for name in tensors if name != self._input]
        sizes = _bytes_of_one_image(model)
        unknown = max(
            sizes.values(), default=0
        )  # a shape that cannot be inferred: assume the worst
        groups = _groups({name: sizes.get(name, unknown) for name in inside}, memory_bytes)
        self._sessions = [(names, _session(model, names)) for names, _ in groups]
        largest = max((size for _, size in groups), default=1)
        dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
        self._fixed = dimension.dim_value or None
        self._run = self._fixed or max(1, memory_bytes // max(largest, 1))

    def values(self, images_nchw: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield each tensor's name and values, in pieces."""
        for first in range(0, len(images_nchw), self._run):
            piece_nchw = images_nchw[first : first + self._run]
            if self._fixed and len(piece_nchw) < self._fixed:
                # Repeated, not padded with zeros: those would be values that no image has.
                piece_nchw = np.resize(piece_nchw, (self._fixed, *piece_nchw.shape[1:]))
            if self._from_images:
                yield self._input, piece_nchw
            for names, session in self._sessions:
                yield from zip(names, session.run(names, {self._input: piece_nchw}), strict=True)


def _bytes_of_one_image(model: ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    sizes = {}
    for value in [*inferred.graph.value_info, *inferred.graph.output]:
        dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        sizes[value.name] = 4 * int(np.prod(dims)) // batch
    return sizes


def _groups(sizes: dict[str, int], limit: int) -> list[tuple[list[str], int]]:
    """Cut tensors into runs of at most ``limit`` bytes, or one tensor, each; with their sums."""
    groups: list[tuple[list[str], int]] = []
    for name, size in sizes.items():
        if groups and groups[-1][1] + size <= limit:
            names, total = groups[-1]
            groups[-1] = ([*names, name], total + size)
        else:
            groups.append(([name], size))
    return groups


def _session(model: ModelProto, names: list[str]) -> Any:
    watched = ModelProto.FromString(model.SerializeToString())
    present = {value.name for value in watched.graph.output}
    for name in names:
        if name not in present:
            watched.graph.output.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    return onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
