"""Tiny ONNX models whose logits can be worked out by hand."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper


def linear(
    path: Path,
    weights_kf: ArrayLike,
    shape: tuple[int, int, int],
    batch: int | str = "N",
    bias_k: ArrayLike | None = None,
) -> Path:
    """Write logits = weights @ flattened image (+ bias); ``batch`` is fixed if it is a number."""
    weights = np.asarray(weights_kf, dtype=np.float32)
    bias = np.zeros(len(weights)) if bias_k is None else np.asarray(bias_k)
    constants = [
        onnx.numpy_helper.from_array(weights, "weights"),
        onnx.numpy_helper.from_array(bias.astype(np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
    ]
    return write(path, nodes, (batch, *shape), (batch, len(weights)), constants)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    images: tuple[int | str, ...],
    logits: tuple[int | str, ...],
    constants: list[onnx.TensorProto] = (),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a graph from ``images`` to ``logits``."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", kind, images)],
        [helper.make_tensor_value_info("logits", kind, logits)],
        list(constants),
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path
