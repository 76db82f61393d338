"""Bring an exporter's graph into the one form that the rest of the export knows.

Constants are initialisers, identities are gone, batch normalisation is folded into the convolution
or the matrix product before it, averages over all pixels are GlobalAveragePool, and names tell
which PyTorch module a node stands for.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.export import verify
from edgekd.export.graph import Graph, attribute, rename_input, replace_nodes, set_constant

_IMAGES = 4  # dimensions
_IMAGE_AXES = ([2, 3], [-2, -1])


def tidy(model: ModelProto) -> tuple[str, ...]:
    """Simplify a model, in place; what it computes stays the same up to rounding.

    Returns:
        Notes: a sentence for each step that was taken back, because it would change results.

    Raises:
        ExportError: ONNX Runtime refuses the model as it is.
    """
    steps = (_constants_to_initialisers, _drop_identities, _average_pools, fold_batch_norms)
    notes = verify.rewrite(model, steps)
    del model.graph.value_info[:]  # shapes are inferred anew where they are needed
    return notes


def fold_batch_norms(model: ModelProto) -> None:
    """Fold every BatchNormalization whose input is computed for it alone.

    What is left follows something else than a convolution or a matrix product, as in DenseNet.
    """
    graph = Graph(model)
    kept: list[NodeProto] = []
    for node in graph.nodes:
        before = graph.producer(node.input[0]) if node.op_type == "BatchNormalization" else None
        alone = before is not None and graph.only_reader(node.input[0]) is node
        if before is not None and alone and _fold(graph, before, node):
            before.output[0] = node.output[0]
        else:
            kept.append(node)
    replace_nodes(model, kept)


def affine(graph: Graph, node: NodeProto) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return factor [C] and shift [C] of a BatchNormalization; None: they are not constant.

    y = factor * x + shift, factor = gamma / sqrt(variance + epsilon), shift = beta - factor * mean.
    """
    values = [graph.constant(name) for name in node.input[1:5]]
    if any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (np.asarray(value, dtype=np.float64) for value in values)
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return factor.astype(np.float32), (beta - factor * mean).astype(np.float32)


def _fold(graph: Graph, before: NodeProto, norm: NodeProto) -> bool:
    axis = weight_axis(graph, before)
    weight = _float_constant(graph, before, 1) if axis is not None else None
    parameters = affine(graph, norm)
    if axis is None or weight is None or parameters is None or before.op_type == "MatMul":
        return False
    if len(graph.readers(before.input[1])) != 1:  # shared weights
        return False
    if before.op_type == "ConvTranspose" and attribute(before, "group", 1) != 1:
        return False
    factor, shift = parameters
    bias = _float_constant(graph, before, 2) if len(before.input) > 2 else np.zeros_like(shift)  # noqa: PLR2004
    if bias is None:
        return False
    along = [1] * weight.ndim
    along[axis] = -1
    set_constant(graph.model, before.input[1], (weight * factor.reshape(along)).astype(np.float32))
    name = f"{before.input[1]}.folded_bias"
    set_constant(graph.model, name, (bias * factor + shift).astype(np.float32))
    del before.input[2:]
    before.input.append(name)
    return True


def weight_axis(graph: Graph, node: NodeProto) -> int | None:
    """Return the axis of the output channels in a node's constant weight; None: it has none."""
    weight = graph.constant(node.input[1]) if len(node.input) > 1 else None
    if weight is None or weight.dtype != np.float32:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm" and _is_plain_gemm(node):
        return 0 if attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "MatMul" and weight.ndim == 2 else None  # noqa: PLR2004


def image_tensors(model: ModelProto) -> set[str]:
    """Return the tensors of four dimensions, N, C, H, W."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.value_info]
    return {value.name for value in values if len(value.type.tensor_type.shape.dim) == _IMAGES}


def _float_constant(graph: Graph, node: NodeProto, index: int) -> NDArray[np.float32] | None:
    value = graph.constant(node.input[index])
    return None if value is None else value.astype(np.float32)


def _is_plain_gemm(node: NodeProto) -> bool:
    factors = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    return factors == (1.0, 1.0) and not attribute(node, "transA", 0)


def _constants_to_initialisers(model: ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        tensor = attribute(node, "value") if node.op_type == "Constant" else None
        if tensor is None:
            kept.append(node)
        else:
            set_constant(model, node.output[0], numpy_helper.to_array(tensor))
    replace_nodes(model, kept)


def _drop_identities(model: ModelProto) -> None:
    graph = Graph(model)
    kept = []
    for node in graph.nodes:
        if node.op_type not in {"Identity", "Dropout"} or node.output[0] in graph.outputs:
            kept.append(node)
            continue
        for reader in graph.nodes:
            rename_input(reader, node.output[0], node.input[0])
    replace_nodes(model, kept)


def _average_pools(model: ModelProto) -> None:
    """Write ReduceMean over the pixels as GlobalAveragePool, for which engines have kernels."""
    graph = Graph(model)
    images = image_tensors(model)
    nodes: list[NodeProto] = []
    for node in graph.nodes:
        averages = node.op_type == "ReduceMean" and node.input[0] in images
        if not averages or _reduced_axes(graph, node) not in _IMAGE_AXES:
            nodes.append(node)
            continue
        keeps = attribute(node, "keepdims", 1)
        pooled = node.output[0] if keeps else f"{node.output[0]}.pooled"
        pool = helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)
        pool.metadata_props.extend(node.metadata_props)
        nodes.append(pool)
        if not keeps:
            flat = helper.make_node("Flatten", [pooled], [node.output[0]], f"{node.name}.flat")
            flat.metadata_props.extend(node.metadata_props)
            nodes.append(flat)
    replace_nodes(model, nodes)


def _reduced_axes(graph: Graph, node: NodeProto) -> list[int]:
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1:
        axes = graph.constant(node.input[1])
    return [] if axes is None else sorted(int(axis) for axis in np.asarray(axes).reshape(-1))
