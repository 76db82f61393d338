"""T001 to T011: operators, opset, types, shapes and hygiene."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import numpy as np
from onnx import TensorProto

from edgekd.lint import operators
from edgekd.lint.model import (
    Graph,
    attribute,
    everywhere,
    external_fault,
    given,
    is_default,
    made,
    name_of,
)  # fmt: skip
from edgekd.lint.rule import Hit, Severity, at, rule
from edgekd.lint.rules.qdq import INTEGER

TABLE = "onnx/onnx-tensorrt, docs/operators.md"
PARSER = "onnx/onnx-tensorrt, the parser's checks"


@rule(
    "T001", "All operators are known to the parser", "error",
    why="One unknown operator stops the parser, unless a plugin of its name is loaded.",
    source=TABLE, fix="Export with other operators, or load a plugin.",
)  # fmt: skip
def operators_are_known(graph: Graph) -> Iterator[Hit]:
    """Yield nodes with other operators, in branches, loops and local functions too."""
    functions = {(function.domain, function.name) for function in graph.model.functions}
    holders = [graph.model.graph, *graph.model.functions]
    for node in chain.from_iterable(everywhere(holder) for holder in holders):
        kind = node.op_type
        if (node.domain, kind) in functions and graph.version >= (9, 0):
            continue
        if kind in INTEGER or kind.startswith("QLinear") or kind.endswith("_TRT"):
            continue  # Q009; plugins
        since = operators.since(kind) if is_default(node.domain) else None
        if since is None or since > graph.version:
            where = "" if is_default(node.domain) else f" of '{node.domain}'"
            yield at(node, f"operator {kind or '(none)'}{where} is not supported")


@rule(
    "T002", "The opset is one that the parser reads", "error",
    why="Later opsets change the meaning of attributes and inputs.",
    source=TABLE, fix="Export with another opset; 17 is read by all versions since 8.5.",
)  # fmt: skip
def opset_is_read(graph: Graph) -> Iterator[Hit]:
    """Yield a hit if the opset is too old or too new."""
    first, documented, last = operators.opsets(graph.version)
    if not first <= graph.opset <= documented:
        severity: Severity = "warning" if documented < graph.opset <= last else "error"
        yield Hit(f"opset {graph.opset}, where {first} to {documented} are documented",
                  severity=severity)  # fmt: skip


@rule(
    "T003", "Maximum pooling gives no indices", "error",
    why="The parser has no output for them.",
    source=TABLE, fix="Do without unpooling: upsample, or use a transposed convolution.",
)  # fmt: skip
def no_indices(graph: Graph) -> Iterator[Hit]:
    """Yield maximum pooling with a second output."""
    for node in graph.of("MaxPool"):
        if len(node.output) > 1 and node.output[1]:
            yield at(node, "makes indices", None, node.output[1])


@rule(
    "T004", "Pooling has two or three dimensions and no dilation", "error",
    why="TensorRT's pooling layer has no other form.",
    source=TABLE, fix="Reshape 1D data to 2D; write dilated pooling as slices and Max.",
)  # fmt: skip
def pooling_is_plain(graph: Graph) -> Iterator[Hit]:
    """Yield pooling with another form."""
    for node in graph.of("AveragePool", "MaxPool"):
        kernel, dilations = attribute(node, "kernel_shape", []), attribute(node, "dilations", [])
        if kernel and len(kernel) not in {2, 3}:
            yield at(node, f"pools over {len(kernel)} dimensions, where 2 or 3 were expected")
        if any(step != 1 for step in dilations):
            yield at(node, f"has dilations {list(dilations)}, where 1 was expected")


RESIZE = {
    "coordinate_transformation_mode": (
        "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
    ),
    "mode": ("nearest", "linear"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
}  # fmt: skip


@rule(
    "T005", "Resizing uses modes that the parser has", "error",
    why="There is no antialiasing, no cropping, and no policy of aspect but to stretch.",
    source=TABLE, fix="Export with nearest or linear interpolation and antialias=False.",
)  # fmt: skip
def resize_modes_are_known(graph: Graph) -> Iterator[Hit]:
    """Yield resizing with other modes."""
    for node in graph.of("Resize"):
        for key, known in RESIZE.items():
            found = attribute(node, key, b"").decode("utf-8", "replace")
            if found and found not in known:
                # The table has no cubic mode; versions differ in whether they take it.
                yield at(node, f"{key} is {found}", "warning" if found == "cubic" else None)
        if attribute(node, "antialias", 0):
            yield at(node, "antialias is on")


@rule(
    "T006", "Types are ones that TensorRT computes in", "warning",
    why="It computes DOUBLE in FLOAT, and INT64 in INT32 before version 9.",
    source=f"{TABLE}; NVIDIA TensorRT 8.6 documentation, ONNX parser",
    fix="Export in float32; values beyond the range of INT32 must not matter.",
)  # fmt: skip
def types_are_native(graph: Graph) -> Iterator[Hit]:
    """Yield inputs, outputs and initialisers that are cast."""
    names = [value.name for value in graph.inputs] + graph.outputs + list(graph.initialisers)
    for name in dict.fromkeys(names):
        kind = graph.dtype(name)
        if kind == TensorProto.DOUBLE:
            yield Hit("DOUBLE is computed in FLOAT", tensor=name)
        elif kind == TensorProto.INT64 and graph.version < (9, 0) and not _fits(graph, name):
            yield Hit("INT64 is computed in INT32", tensor=name)


def _fits(graph: Graph, tensor: str) -> bool:
    value = graph.numbers(tensor)
    return value is not None and bool((np.abs(value) < 2**31).all())


@rule(
    "T007", "Nothing but the batch has a dynamic size", "warning",
    why="A dynamic size needs an optimisation profile, and is slower or larger than a fixed one.",
    source="NVIDIA TensorRT documentation, Working with Dynamic Shapes",
    fix="Export with fixed sizes, or give the builder the smallest, usual and largest.",
)  # fmt: skip
def sizes_are_fixed(graph: Graph) -> Iterator[Hit]:
    """Yield inputs with dynamic sizes; with those of the accelerator D001 deals."""
    for value in graph.inputs:
        if value.name in graph.initialisers or graph.dla or not value.name:
            continue
        shape = graph.shape(value.name)
        if shape is None:
            yield Hit("the number of its dimensions is not given", tensor=value.name)
        elif None in shape[1:]:
            yield Hit(f"has dynamic sizes: {_shown(shape)}", tensor=value.name)
        elif None in shape:
            yield Hit(f"any batch: {_shown(shape)}; the builder needs a profile", "", value.name,
                      "info")  # fmt: skip


def _shown(shape: list[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape)


@rule(
    "T008", "Weights of convolutions are constants", "warning",
    why="Computed weights rule out most kernels, and versions before 8.5 refuse them.",
    source=PARSER, fix="Fold the constants before export.",
)  # fmt: skip
def weights_are_constant(graph: Graph) -> Iterator[Hit]:
    """Yield convolutions with computed weights."""
    for node in graph.of("Conv", "ConvTranspose"):
        if not graph.weights_behind(given(node, 1)):
            yield at(node, "its weights are computed", None, given(node, 1))


@rule(
    "T009", "Nodes, inputs and outputs have names of their own", "warning",
    why="The parser renames nodes without one; then layers cannot be found in a profile.",
    source=PARSER, fix="Name each node once.",
)  # fmt: skip
def names_are_unique(graph: Graph) -> Iterator[Hit]:
    """Yield names that are missing or used twice."""
    nameless = [node for node in graph.nodes if not node.name]
    if nameless:
        what = f"{len(nameless)} of {len(graph.nodes)} nodes have no name"
        yield Hit(f"{what}, the first is {name_of(nameless[0])}")
    for name, count in Counter(node.name for node in graph.nodes if node.name).items():
        if count > 1:
            yield Hit(f"{count} nodes have this name", name)
    if not all([value.name for value in graph.inputs] + graph.outputs):
        yield Hit("an input or output of the network has no name", severity="error")


@rule(
    "T010", "External data lie in files beside the model", "error",
    why="A path out of the folder reads foreign files; a missing file stops the parser.",
    source="ONNX, External Data", fix="Copy the file of the weights beside the model.",
)  # fmt: skip
def external_data_are_there(graph: Graph) -> Iterator[Hit]:
    """Yield initialisers whose data are elsewhere."""
    for tensor in graph.initialisers.values():
        if fault := external_fault(tensor, graph.folder):
            yield Hit(fault, tensor=tensor.name)


@rule(
    "T011", "Nothing is left over from training", "warning",
    why="Dropout does nothing in use, and normalisation in training mode something else.",
    source=TABLE, fix="Export in evaluation mode, or remove the node.",
)  # fmt: skip
def nothing_is_left_over(graph: Graph) -> Iterator[Hit]:
    """Yield dropout, normalisation in training mode, and identities."""
    for node in graph.of("Dropout", "Identity", "BatchNormalization"):
        if node.op_type == "BatchNormalization":
            if attribute(node, "training_mode", 0) or (graph.opset < 14 and len(node.output) > 1):  # noqa: PLR2004
                yield at(node, "computes in training mode", "error")
        elif node.op_type == "Dropout":
            yield at(node, "Dropout is left over")
        elif not graph.weights_behind(made(node)):
            yield at(node, "Identity is left over", "info")
