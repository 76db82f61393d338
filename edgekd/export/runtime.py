"""Run an ONNX file on this machine's processor, for parity."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgekd.core.errors import ExportError

_BATCH = 32


def logits(path: Path, images_nchw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logits [N, K] of prepared images, at the model's own batch if it has one.

    Raises:
        ExportError: ONNX Runtime refuses the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: what it warns of, such as unused constants, is known
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except _REFUSALS as error:
        raise ExportError(f"ONNX Runtime cannot open the exported model: {error}") from error
    source = session.get_inputs()[0]
    batch = source.shape[0] if isinstance(source.shape[0], int) else _BATCH
    parts = []
    for first in range(0, len(images_nchw), batch):
        chunk_nchw = images_nchw[first : first + batch]
        missing = batch - len(chunk_nchw) if isinstance(source.shape[0], int) else 0
        padded_nchw = np.pad(chunk_nchw, ((0, missing), (0, 0), (0, 0), (0, 0)))
        parts.append(session.run(None, {source.name: padded_nchw})[0][: len(chunk_nchw)])
    return np.concatenate(parts)


_errors = onnxruntime.capi.onnxruntime_pybind11_state
_REFUSALS = (_errors.Fail, _errors.InvalidGraph, _errors.NotImplemented, _errors.InvalidArgument)
