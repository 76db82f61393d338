"""Run an ONNX file on this machine's processor, for parity and for what its tensors hold."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekd.agent.engines.onnxruntime import open_session
from edgekd.core.errors import ExportError

_BATCH = 32


def logits(path: Path, images_nchw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits [N, K] of prepared images, at the model's own batch if it has one.

    Raises:
        ExportError: ONNX Runtime refuses the file.
    """
    session = _open(str(path))
    outputs = _outputs(session, None, images_nchw)
    return np.concatenate([values[0][:count] for values, count in outputs])


def largest(
    model: ModelProto, tensors: list[str], images_nchw: NDArray[np.float32]
) -> dict[str, float]:
    """Return the largest absolute value of tensors inside a model on prepared images.

    The maxima are taken inside the graph, so memory does not grow with the number of tensors.
    """
    watched = ModelProto.FromString(model.SerializeToString())
    maxima = [f"{name}/largest" for name in tensors]
    for name, maximum in zip(tensors, maxima, strict=True):
        size = f"{name}/size"
        watched.graph.node.append(helper.make_node("Abs", [name], [size]))
        watched.graph.node.append(helper.make_node("ReduceMax", [size], [maximum], keepdims=0))
        watched.graph.output.append(helper.make_tensor_value_info(maximum, TensorProto.FLOAT, []))
    session = _open(watched.SerializeToString())
    rows = [np.stack(values) for values, _ in _outputs(session, maxima, images_nchw)]
    return dict(zip(tensors, np.max(rows, axis=0).tolist(), strict=True))


def run(model: ModelProto, inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    """Return all outputs of a model in memory.

    Raises:
        ExportError: ONNX Runtime refuses it.
    """
    found: list[NDArray[np.float32]] = _open(model.SerializeToString()).run(None, inputs)
    return found


def _open(model: str | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: what it warns of, such as unused constants, is known
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    try:
        return open_session(model, options)
    except _REFUSALS as error:
        raise ExportError(f"ONNX Runtime cannot open the exported model: {error}") from error


def _outputs(
    session: onnxruntime.InferenceSession,
    names: list[str] | None,
    images_nchw: NDArray[np.float32],
) -> Iterator[tuple[list[NDArray[np.float32]], int]]:
    """Yield the outputs of a batch at a time, and how many of its images are not padding."""
    source = session.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else _BATCH
    for first in range(0, len(images_nchw), batch):
        chunk_nchw = images_nchw[first : first + batch]
        missing = batch - len(chunk_nchw) if isinstance(source.shape[0], int) else 0
        padded_nchw = np.pad(chunk_nchw, ((0, missing), (0, 0), (0, 0), (0, 0)))
        yield session.run(names, {source.name: padded_nchw}), len(chunk_nchw)


_errors = onnxruntime.capi.onnxruntime_pybind11_state
_REFUSALS = (_errors.Fail, _errors.InvalidGraph, _errors.NotImplemented, _errors.InvalidArgument)
