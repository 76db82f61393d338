"""The arithmetic: ONNX Runtime on the processor."""

from typing import Any

_ERRORS_ONLY = 3


def open_session(onnx_file: bytes) -> Any:
    """Open a file as an ``InferenceSession``.

    Raises:
        RuntimeError: ONNX Runtime does not take it.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    known = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented)
    try:
        return onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    except known as error:
        raise RuntimeError(str(error).splitlines()[0]) from error
