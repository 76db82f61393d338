"""D001 and D002: what the deep learning accelerator takes; only if the model is to run on it."""

from collections.abc import Iterator

from onnx import TensorProto

from edgekd.core.accelerator import LARGEST_BATCH, LARGEST_SIZE, OPERATORS
from edgekd.lint.model import PAIRED, WEIGHTED, Graph, given
from edgekd.lint.rule import Hit, at, rule
from edgekd.lint.rules.qdq import FLOATS

GUIDE = "NVIDIA TensorRT documentation, Working with DLA"
FUSED = ("Relu", "Clip", "BatchNormalization")


@rule(
    "D001", "Types and sizes are ones that the accelerator takes", "error",
    why="It has fixed sizes, half precision and INT8 only, and reads Q and DQ in late versions.",
    source=GUIDE, fix="Fix the sizes; before 10.8 give ranges of tensors instead of Q and DQ.",
)  # fmt: skip
def accelerator_takes_it(graph: Graph) -> Iterator[Hit]:
    """Yield inputs and layers that the accelerator refuses."""
    if not graph.dla:
        return
    for value in graph.inputs:
        shape = graph.shape(value.name)
        if value.name in graph.initialisers:
            continue
        if shape is None or None in shape:
            yield Hit("has a dynamic size, where fixed ones were expected", tensor=value.name)
        elif shape and (shape[0] or 0) > LARGEST_BATCH:
            yield Hit(f"a batch of {shape[0]} is more than {LARGEST_BATCH}", tensor=value.name)
        elif any((size or 0) > LARGEST_SIZE for size in shape[1:]):
            yield Hit(f"a size of {shape} is more than {LARGEST_SIZE}", tensor=value.name)
    if graph.version < (10, 8) and any(graph.of(*PAIRED)):
        yield Hit("Q and DQ are not read for the accelerator")
    for node in graph.of(*WEIGHTED):
        kind = graph.dtype(given(node, 0))
        dequantised = graph.made_by(given(node, 0), "DequantizeLinear") is not None
        strongly_typed = graph.version >= (11, 0)  # before, the builder lowers float by itself
        if kind == TensorProto.DOUBLE or (
            kind in {TensorProto.FLOAT, TensorProto.BFLOAT16} and strongly_typed and not dequantised
        ):
            yield at(node, "computes neither in half precision nor in INT8")


@rule(
    "D002", "In an INT8 model every tensor of the accelerator has a scale", "warning",
    why="Where one is missing, the region runs in half precision or on the GPU.",
    source="NVIDIA/Model-Optimizer, quantisation for the accelerator",
    fix="Put Q and DQ behind every layer that runs on the accelerator.",
)  # fmt: skip
def every_tensor_has_a_scale(graph: Graph) -> Iterator[Hit]:
    """Yield layers whose output is not quantised, but for those that fuse with the next."""
    if not graph.dla or not any(graph.of(*PAIRED)):
        return
    for node in graph.of(*OPERATORS):
        is_activation = not graph.weights_behind(given(node, 0))
        for tensor in node.output[:1]:
            readers = graph.readers(tensor)
            fused = len(readers) == 1 and readers[0].op_type in FUSED
            is_float = graph.dtype(tensor) in {0, *FLOATS}  # copies may hand INT8 on, or sizes
            bare = any(reader.op_type != "QuantizeLinear" for reader in readers)
            if is_activation and is_float and bare and not fused:
                yield at(node, "its output has no scale", None, tensor)
