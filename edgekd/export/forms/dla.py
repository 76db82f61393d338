"""What of a network runs on NVIDIA's deep learning accelerator (DLA), and what on the GPU.

Source: NVIDIA TensorRT documentation, "DLA Supported Layers and Restrictions".
"""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekd.core.accelerator import LARGEST_BATCH, LARGEST_SIZE, OPERATORS
from edgekd.core.errors import ExportError
from edgekd.export.graph import WEIGHTED, Graph, attribute

_POOLS = ("AveragePool", "MaxPool")
# The largest value of an attribute: of convolutions, and of pooling.
_CONVOLUTION = {"kernel_shape": 32, "strides": 8, "dilations": 32, "pads": 31}
_POOLING = {"kernel_shape": 8, "strides": 16, "pads": 7, "dilations": 1}
_CHANNEL_AXES = (1, -3)
_IMAGES = 4  # dimensions

Sizes = dict[str, list[int]]


def prepare(model: ModelProto) -> None:
    """Write averages over a whole image, which it lacks, as pooling, which it has; in place."""
    sizes = _sizes(model)
    for node in model.graph.node:
        window = sizes.get(node.input[0], [])[2:] if node.op_type == "GlobalAveragePool" else []
        if window and max(window) <= _POOLING["kernel_shape"]:
            node.op_type = "AveragePool"
            node.attribute.append(helper.make_attribute("kernel_shape", window))


def left_to_gpu(model: ModelProto) -> tuple[str, ...]:
    """Return a sentence for each layer that does not run on the accelerator.

    Args:
        model: FP16, of fixed sizes.

    Raises:
        ExportError: it takes no layer, or not the sizes of the images.
    """
    sizes = _sizes(model)
    _check_images(model, sizes)
    graph = Graph(model)
    layers = [node for node in graph.nodes if node.op_type != "Cast"]
    reasons = {node.name: next(_faults(graph, node, sizes), "") for node in layers}
    left = {name: reason for name, reason in reasons.items() if reason}
    if all(node.name in left for node in layers if node.op_type in WEIGHTED):
        raise ExportError(
            "the accelerator would compute no convolution and no matrix product of this network: "
            "export tensorrt-fp16"
        )
    return tuple(f"'{name}' runs on the GPU: {reason}" for name, reason in left.items())


def _sizes(model: ModelProto) -> Sizes:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in values
    }


def _check_images(model: ModelProto, sizes: Sizes) -> None:
    images = sizes[model.graph.input[0].name]
    if images[0] > LARGEST_BATCH or max(images[1:]) > LARGEST_SIZE:
        raise ExportError(
            f"the accelerator takes up to {LARGEST_BATCH} images of sizes up to {LARGEST_SIZE}, "
            f"and this network takes {images}: choose a smaller --batch or image size"
        )


def _faults(graph: Graph, node: NodeProto, sizes: Sizes) -> Iterator[str]:
    """Yield why a layer does not run there."""
    if node.op_type not in OPERATORS:
        yield f"the accelerator has no {node.op_type}"
    if any(_is_single(graph, name) for name in node.input):
        yield "it computes in FP32"
    if any(size > LARGEST_SIZE for name in node.output for size in sizes.get(name, [])):
        yield f"a size of its output is more than {LARGEST_SIZE}"
    if node.op_type in WEIGHTED and not graph.is_constant(node.input[1]):
        yield "its weight is computed"
    if node.op_type in {"Conv", "ConvTranspose", *_POOLS}:
        yield from _beyond(node, _POOLING if node.op_type in _POOLS else _CONVOLUTION)
    if node.op_type == "ConvTranspose":
        yield from _transposed(node)
    if node.op_type == "Concat" and attribute(node, "axis") not in _CHANNEL_AXES:
        yield "it does not join channels"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "it returns indices"


def _is_single(graph: Graph, tensor: str) -> bool:
    """Say whether a tensor is an FP32 constant, or made FP32 by a Cast."""
    constant, source = graph.constant(tensor), graph.producer(tensor)
    cast = source is not None and source.op_type == "Cast"
    return (constant is not None and constant.dtype.name == "float32") or (
        source is not None and cast and attribute(source, "to") == TensorProto.FLOAT
    )


def _beyond(node: NodeProto, limits: dict[str, int]) -> Iterator[str]:
    for name, limit in limits.items():
        values = attribute(node, name, [])
        if len(values) and max(values) > limit:
            yield f"{name} {list(values)} is beyond {limit}"


def _transposed(node: NodeProto) -> Iterator[str]:
    if any(attribute(node, "pads", [])) or any(attribute(node, "output_padding", [])):
        yield "a transposed convolution may have no padding"
    if attribute(node, "group", 1) > 1 or any(
        step > 1 for step in attribute(node, "dilations", [])
    ):
        yield "a transposed convolution may have neither groups nor dilation"
