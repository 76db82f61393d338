"""Q011, Q012, Q023, Q025: Q and DQ that are valid in their graph."""

from collections.abc import Iterator

from edgekd.lint.model import PAIRED, WEIGHTED, Graph, given, made
from edgekd.lint.rule import Hit, at, rule
from edgekd.lint.rules.qdq import FLOATS, GUIDE, HALVES, type_name

# Operators that hand INT8 on as it is.
COPIES = (
    "MaxPool", "Reshape", "Transpose", "Flatten", "Slice", "Squeeze", "Unsqueeze", "Concat",
    "Identity", "Split", "Gather", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip


@rule(
    "Q011", "Floating-point types agree", "error",
    why="In a strongly typed network each operator computes in one type; DQ gives its scale's.",
    source=GUIDE, fix="Give scales, biases and operands the type of the activations.",
)  # fmt: skip
def float_types_agree(graph: Graph) -> Iterator[Hit]:
    """Yield Q whose scale, and operators whose operands, have different types."""
    for node in graph.of("QuantizeLinear"):
        data, scale = graph.dtype(given(node, 0)), graph.dtype(given(node, 1))
        if {data, scale} & set(HALVES) and data in FLOATS and scale in FLOATS and data != scale:
            yield at(node, f"quantises {type_name(data)} with a scale of {type_name(scale)}")
    for node in graph.of(*WEIGHTED, "Add", "Sub", "Mul", "Div", "Concat"):
        kinds = {_float_type(graph, name) for name in node.input if name} & set(FLOATS)
        if len(kinds) > 1:
            yield at(node, f"mixes {' and '.join(sorted(type_name(kind) for kind in kinds))}")


@rule(
    "Q012", "What Q makes is read by DQ, directly or through copies", "error",
    why="No other operator reads INT8; a Q that nobody reads is left over from an edit.",
    source=GUIDE, fix="Put a DequantizeLinear behind each QuantizeLinear.",
)  # fmt: skip
def quantised_is_dequantised(graph: Graph) -> Iterator[Hit]:
    """Yield Q without readers, and other operators that read INT8."""
    for node in graph.of("QuantizeLinear"):
        if not graph.readers(made(node)) and made(node) not in graph.outputs:
            yield at(node, "nobody reads what it makes")
        seen: set[str] = set()
        waiting = [made(node)]
        while waiting:
            tensor = waiting.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            for reader in graph.readers(tensor):
                if reader.op_type in COPIES:
                    waiting += [name for name in reader.output if name]
                elif reader.op_type != "DequantizeLinear" and given(reader, 0) == tensor:
                    yield at(reader, f"{reader.op_type} reads integers", None, tensor)


@rule(
    "Q023", "A model called INT8 is quantised", "error",
    why="Without Q and DQ it becomes a float engine, and nobody is told.",
    source=GUIDE, fix="Do not fold constants over Q and DQ after quantising.",
)  # fmt: skip
def int8_model_is_quantised(graph: Graph) -> Iterator[Hit]:
    """Yield a hit if the model is labelled INT8 and has neither Q nor DQ."""
    if graph.labelled_int8 and not any(graph.of(*PAIRED)):
        yield Hit("the model is called INT8 and has neither QuantizeLinear nor DequantizeLinear")


@rule(
    "Q025", "Q and DQ have data of rank 1 or more", "error",
    why="TensorRT does not quantise scalars.",
    source=GUIDE, fix="Leave scalars in float.",
)  # fmt: skip
def data_are_no_scalars(graph: Graph) -> Iterator[Hit]:
    """Yield Q and DQ of scalars."""
    for node in graph.of(*PAIRED):
        if graph.shape(given(node, 0)) == []:
            yield at(node, "its data are a scalar")


def _float_type(graph: Graph, tensor: str) -> int:
    """Return the type of a tensor; that of DQ is its scale's, which inference may not know."""
    source = graph.made_by(tensor, "DequantizeLinear")
    return graph.dtype(given(source, 1)) if source is not None else graph.dtype(tensor)
