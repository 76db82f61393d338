"""Q013 to Q022: where Q and DQ stand, which decides what runs in INT8."""

from collections.abc import Iterator

from onnx import NodeProto

from edgekd.lint.model import PAIRED, WEIGHTED, Graph, attribute, given, made
from edgekd.lint.rule import Hit, at, rule
from edgekd.lint.rules.context import COPIES
from edgekd.lint.rules.qdq import GUIDE

OPTIMIZER = "NVIDIA/Model-Optimizer, ONNX quantisation"
FOLLOWERS = ("Relu", "Clip", "LeakyRelu", "BatchNormalization")  # they fuse with what is before


def sides(graph: Graph, node: NodeProto) -> list[bool]:
    """Say for both factors of a weighted operator whether they come from DQ."""
    return [graph.made_by(given(node, k), "DequantizeLinear") is not None for k in range(2)]


def scale_of(graph: Graph, node: NodeProto) -> bytes:
    """Return the scale of Q or DQ in a form that can be compared; b"": it cannot be read."""
    value = graph.numbers(given(node, 1))
    return b"" if value is None else value.tobytes()


def differ(one: bytes, other: bytes) -> bool:
    """Say whether two scales are known and differ."""
    return bool(one and other) and one != other


def too_small(graph: Graph, node: NodeProto) -> str:
    """Say why a layer gains nothing from INT8 tensor cores; "": it does, or is not known."""
    weights = graph.weights_behind(given(node, 1))
    shape = graph.shape(weights) if weights else None
    if not shape or None in shape or len(shape) < 2:  # noqa: PLR2004
        return ""
    sizes = [size or 0 for size in shape]
    if node.op_type in {"Gemm", "MatMul"}:
        turned = node.op_type == "Gemm" and bool(attribute(node, "transB", 0))
        inputs, outputs = sizes[-2:] if not turned else sizes[-1:-3:-1]
        small = min(inputs, outputs) < 16  # noqa: PLR2004
        return f"it has {inputs} inputs and {outputs} outputs, fewer than 16" if small else ""
    if node.op_type != "Conv":
        return ""
    group = attribute(node, "group", 1)
    inputs, outputs, kernel = sizes[1] * group, sizes[0], sizes[2:]
    if group > 1:
        good = outputs % 8 == 0 and all(size >= 3 for size in kernel)  # noqa: PLR2004
    else:
        is_first = graph.origin(given(node, 0)) in {value.name for value in graph.inputs}
        good = min(inputs, outputs) >= 16 or (  # noqa: PLR2004
            (outputs % 8 == 0 or inputs % 8 == 0)
            and (is_first or max(inputs, outputs) >= 16)  # noqa: PLR2004
            and len(set(kernel)) <= 1
        )
    shown = "x".join(map(str, kernel))
    return "" if good else f"{inputs} to {outputs} channels, {group} groups, kernel {shown}"


@rule(
    "Q013", "Both factors of a weighted operator are quantised, or none", "warning",
    why="With one of them in float the operator runs in float.",
    source=GUIDE, fix="Put Q and DQ on the activation and on the weights.",
)  # fmt: skip
def both_factors(graph: Graph) -> Iterator[Hit]:
    """Yield weighted operators with one quantised factor."""
    for node in graph.of(*WEIGHTED):
        found = sides(graph, node)
        if any(found) and not all(found):
            missing = "weights" if found[0] else "activation"
            yield at(node, f"{node.op_type} runs in float, for want of Q and DQ on its {missing}")


@rule(
    "Q014", "All weighted operators of an INT8 model that gain by it are quantised", "warning",
    why="A layer left in float costs its own time and that of the change of type.",
    source=GUIDE, fix="Quantise it, if the accuracy allows.",
)  # fmt: skip
def all_are_quantised(graph: Graph) -> Iterator[Hit]:
    """Yield weighted operators without Q and DQ, but for small ones."""
    if any(graph.of(*PAIRED)):
        for node in graph.of(*WEIGHTED):
            if not any(sides(graph, node)) and not too_small(graph, node):
                yield at(node, f"{node.op_type} is not quantised in a quantised model")


@rule(
    "Q015", "Q stands behind the activation, not before it", "warning",
    why="Between a convolution and its ReLU or normalisation, Q and DQ break the fusion.",
    source=GUIDE, fix="Move Q and DQ behind the activation.",
)  # fmt: skip
def behind_the_activation(graph: Graph) -> Iterator[Hit]:
    """Yield weighted operators that are quantised before their activation."""
    for node in graph.of(*WEIGHTED):
        quantise = graph.only_reader(made(node))
        if quantise is None or quantise.op_type != "QuantizeLinear":
            continue
        back = graph.only_reader(made(quantise))
        after = graph.only_reader(made(back)) if back is not None else None
        if after is not None and after.op_type in FOLLOWERS:
            yield at(quantise, f"stands between {node.op_type} and its {after.op_type}")


@rule(
    "Q016", "Batch normalisation is folded into quantised layers", "warning",
    why="Weights that are quantised before folding have the wrong scales.",
    source=GUIDE, fix="Fold batch normalisation, then calibrate and quantise.",
)  # fmt: skip
def normalisation_is_folded(graph: Graph) -> Iterator[Hit]:
    """Yield batch normalisation behind quantised layers."""
    for node in graph.of("BatchNormalization"):
        before = graph.made_by(given(node, 0), *WEIGHTED)
        if before is not None and sides(graph, before)[1]:
            yield at(node, f"follows a quantised {before.op_type}")


@rule(
    "Q017", "A residual addition has one quantised operand: the shortcut", "warning",
    why="Then the convolution adds it in INT8; otherwise the addition is a kernel of its own.",
    source=f"{GUIDE}; NVIDIA TensorFlow quantisation toolkit, residual networks",
    fix="Put Q and DQ on the shortcut, and none between the convolution and the addition.",
)  # fmt: skip
def residual_is_fused(graph: Graph) -> Iterator[Hit]:
    """Yield additions of activations with too few or too many quantised operands."""
    for node in graph.of("Add"):
        names = [given(node, 0), given(node, 1)]
        if any(not name or graph.weights_behind(name) for name in names):
            continue
        found = [graph.made_by(name, "DequantizeLinear") for name in names]
        if all(found):
            if any(_conv_behind(graph, source) for source in found if source is not None):
                yield at(node, "both operands are quantised, one right behind its convolution")
        elif any(found):
            other = names[found.index(None)]
            if graph.made_by(other, *WEIGHTED) is None:
                yield at(node, "one operand is quantised, the other is float")


def _conv_behind(graph: Graph, dequantise: NodeProto) -> bool:
    quantise = graph.made_by(given(dequantise, 0), "QuantizeLinear")
    return quantise is not None and graph.made_by(given(quantise, 0), *WEIGHTED) is not None


@rule(
    "Q018", "All inputs of a concatenation have one scale", "warning",
    why="Otherwise each is quantised anew, which copies it.",
    source=OPTIMIZER, fix="Give the tensors that are concatenated a common range.",
)  # fmt: skip
def concatenation_has_one_scale(graph: Graph) -> Iterator[Hit]:
    """Yield concatenations of tensors with different scales."""
    for node in graph.of("Concat"):
        found = [graph.made_by(name, "DequantizeLinear") for name in node.input]
        scales = {scale_of(graph, source) for source in found if source is not None} - {b""}
        if len(scales) > 1:
            yield at(node, f"its inputs have {len(scales)} scales")


@rule(
    "Q019", "A tensor is quantised once", "warning",
    why="A second pair of Q and DQ rounds again and costs a kernel.",
    source=GUIDE, fix="Let all readers share one pair of Q and DQ.",
)  # fmt: skip
def quantised_once(graph: Graph) -> Iterator[Hit]:
    """Yield tensors with several scales, and Q right behind DQ."""
    for tensor in dict.fromkeys(given(node, 0) for node in graph.of("QuantizeLinear")):
        readers = [node for node in graph.readers(tensor) if node.op_type == "QuantizeLinear"]
        scales = {scale_of(graph, node) for node in readers} - {b""}
        if len(scales) > 1:
            yield Hit(f"quantised with {len(scales)} scales", tensor=tensor)
    for node in graph.of("QuantizeLinear"):
        before = graph.made_by(given(node, 0), "DequantizeLinear")
        if before is not None:
            other = differ(scale_of(graph, before), scale_of(graph, node))
            yield at(node, "quantises again what was dequantised right before it, "
                     f"with {'another' if other else 'the same'} scale")  # fmt: skip


@rule(
    "Q020", "Copies and maximum pooling have the same scale before and behind", "warning",
    why="Only then can Q and DQ move through them and leave them in INT8.",
    source=GUIDE, fix="Quantise what goes in and what comes out with one scale.",
)  # fmt: skip
def copies_keep_the_scale(graph: Graph) -> Iterator[Hit]:
    """Yield copies between DQ and Q with different scales; Q018 has the concatenations."""
    for node in graph.of(*COPIES):
        before = graph.made_by(given(node, 0), "DequantizeLinear")
        if before is None or node.op_type == "Concat":
            continue
        for after in graph.readers(made(node)):
            if after.op_type == "QuantizeLinear" and differ(
                scale_of(graph, before), scale_of(graph, after)
            ):
                yield at(node, f"{node.op_type} has one scale before it and another behind it")


@rule(
    "Q021", "Quantised layers are large enough for INT8 tensor cores", "warning",
    why="Small layers are no faster in INT8, and the change of type costs.",
    source=OPTIMIZER, fix="Leave the layer in float.",
)  # fmt: skip
def large_enough(graph: Graph) -> Iterator[Hit]:
    """Yield quantised layers that are too small."""
    for node in graph.of(*WEIGHTED):
        if all(sides(graph, node)) and (reason := too_small(graph, node)):
            yield at(node, f"{node.op_type} gains nothing in INT8: {reason}")


@rule(
    "Q022", "What is quantised is known", "info",
    why="Depthwise convolutions are seldom faster in INT8; outer layers cost the most accuracy.",
    source=OPTIMIZER, fix="Nothing to mend.",
)  # fmt: skip
def what_is_quantised(graph: Graph) -> Iterator[Hit]:
    """Yield quantised depthwise convolutions, and whether the outer layers are quantised."""
    if not any(graph.of(*PAIRED)):
        return
    layers = list(graph.of(*WEIGHTED))
    for node in layers:
        shape = graph.shape(graph.weights_behind(given(node, 1)))
        depthwise = attribute(node, "group", 1) > 1 and (shape or [])[1:2] == [1]
        if node.op_type == "Conv" and depthwise and all(sides(graph, node)):
            yield at(node, "a depthwise convolution is quantised")
    for word, node in zip(("first", "last"), layers[:1] + layers[-1:], strict=False):
        state = "quantised" if all(sides(graph, node)) else "float"
        yield at(node, f"the {word} layer is {state}")
