"""Mend what can be mended without changing what the model computes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.core import files
from edgekd.core.errors import UsageError
from edgekd.lint.model import PAIRED, Graph, attribute, everywhere, given, made
from edgekd.lint.rules.qdq import per_channel


def fix(graph: Graph) -> tuple[ModelProto, list[str]]:
    """Return a mended copy of the model, and a line for each rule (Q002, Q007, T009, T011)."""
    model = ModelProto.FromString(graph.model.SerializeToString())
    done = []
    for what, mend in (
        ("T011: removed {} nodes left over from training", _drop_leftovers),
        ("Q002: wrote {} zero points", _write_zero_points),
        ("Q007: wrote {} axes", _write_axes),
        ("T009: named {} nodes", _name_nodes),
    ):
        count = mend(Graph(model, graph.folder))
        if count:
            done.append(what.format(count))
    return model, done


def write(model: ModelProto, folder: Path, out: Path) -> None:
    """Write a mended model that was read from ``folder``.

    Raises:
        UsageError: its external data would no longer lie beside it.
    """
    external = any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer)
    if external and out.parent.resolve() != folder.resolve():
        raise UsageError(
            f"the weights lie in files beside the model, in '{folder}': write '{out.name}' there"
        )
    files.write_bytes(out, model.SerializeToString())


def _write_zero_points(graph: Graph) -> int:
    """Give DQ of INT8 the zero point that ONNX means; for Q, ONNX and TensorRT differ."""
    count = 0
    for node in graph.of("DequantizeLinear"):
        shape = graph.shape(given(node, 1))
        known = shape is not None and None not in shape
        if graph.dtype(given(node, 0)) != TensorProto.INT8 or given(node, 2) or not known:
            continue
        name = _unused(graph, f"{made(node)}/zero_point")
        zeros = np.zeros([size or 0 for size in shape or []], np.int8)
        graph.model.graph.initializer.append(numpy_helper.from_array(zeros, name))
        graph.initialisers[name] = graph.model.graph.initializer[-1]
        del node.input[2:]
        node.input.append(name)
        count += 1
    return count


def _write_axes(graph: Graph) -> int:
    """Write the axis that ONNX means, 1, where that many channels lie along it."""
    count = 0
    for node in graph.of(*PAIRED):
        if not per_channel(graph, node) or attribute(node, "axis") is not None:
            continue
        data, scale = graph.shape(given(node, 0)) or [], graph.shape(given(node, 1)) or []
        if graph.opset >= 13 and len(data) > 1 and data[1] == scale[0]:  # noqa: PLR2004
            node.attribute.append(helper.make_attribute("axis", 1))
            count += 1
    return count


def _name_nodes(graph: Graph) -> int:
    taken = {node.name for node in graph.nodes}
    seen: set[str] = set()
    count = 0
    for index, node in enumerate(graph.nodes):
        if not node.name or node.name in seen:
            name = node.name or f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
            count += 1
        seen.add(node.name)
    return count


def _drop_leftovers(graph: Graph) -> int:
    inside = {name for node in graph.nodes for inner in _inner(node) for name in inner.input}
    renamed: dict[str, str] = {}
    dropped = []
    for index, node in enumerate(graph.nodes):
        idle = node.op_type == "Identity" or (node.op_type == "Dropout" and _is_idle(graph, node))
        shown = made(node) in graph.outputs or made(node) in inside
        if idle and not shown and given(node, 0) and made(node):
            renamed[made(node)] = given(node, 0)
            dropped.append(index)
    for node in graph.nodes:
        for index, old in enumerate(node.input):
            name = old
            for _ in dropped:  # several may stand in a row, or even in a circle
                if name not in renamed:
                    break
                name = renamed[name]
            node.input[index] = name
    for index in reversed(dropped):
        del graph.model.graph.node[index]
    return len(dropped)


def _inner(node: NodeProto) -> Iterator[NodeProto]:
    for found in node.attribute:
        for body in [*([found.g] if found.HasField("g") else []), *found.graphs]:
            yield from everywhere(body)
            # What a body hands out may be a tensor from outside it.
            yield NodeProto(input=[value.name for value in body.output])


def _is_idle(graph: Graph, node: NodeProto) -> bool:
    """Say whether dropout is off, and nobody asks for its mask."""
    masks = [name for name in node.output[1:] if graph.readers(name) or name in graph.outputs]
    training = graph.constant(given(node, 2))
    off = not given(node, 2) or (training is not None and not training.any())
    return off and not masks and graph.opset >= 7  # noqa: PLR2004


def _unused(graph: Graph, name: str) -> str:
    while name in graph.initialisers or graph.producer(name) is not None:
        name += "_"
    return name
