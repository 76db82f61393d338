"""Write a model in the opset that was asked for, or say why not."""

from collections.abc import Callable

import onnx
from onnx import ModelProto, NodeProto, helper

from edgekd.core.errors import ExportError
from edgekd.export.graph import Graph, replace_nodes

_NOTHING_NEW = ("noop_with_empty_axes", "num_outputs", "antialias")  # attributes that 18 brought


def of(model: ModelProto) -> int:
    """Return the version of the default operator set."""
    versions = [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    return int(versions[0])


def lower(model: ModelProto, opset: int) -> None:
    """Rewrite a model for an older opset, in place; the IR version is the oldest that holds it.

    The exporter writes 18 and later; TensorRT 8.5 reads up to 17. onnx's own version converter has
    no rule for Split and leaves attributes behind that opset 17 does not know.

    Raises:
        ExportError: an operator cannot be written in that opset.
    """
    present = of(model)
    if opset < present:
        graph = Graph(model)
        for node in graph.nodes:
            if _version(node, opset) != _version(node, present):
                _lower(graph, node, opset)
        replace_nodes(model, graph.nodes)
    elif opset > present:
        raise ExportError(
            f"the exporter wrote opset {present} where {opset} was asked for: "
            f"set opset = {present} in the target"
        )
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", opset)])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the model cannot be written in opset {opset}: {error}") from error


def _version(node: NodeProto, opset: int) -> int:
    try:
        return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)
    except onnx.defs.SchemaError:
        return -1


def _lower(graph: Graph, node: NodeProto, opset: int) -> None:
    if _version(node, opset) == -1:
        raise ExportError(
            f"node '{node.name}': opset {opset} has no operator {node.op_type}; choose a later one"
        )
    adapter = next(
        (rule for prefix, rule in _RULES.items() if node.op_type.startswith(prefix)), None
    )
    if adapter is not None:
        adapter(graph, node)
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name in _NOTHING_NEW and not node.attribute[index].i:
            del node.attribute[index]


def _axes_to_attribute(graph: Graph, node: NodeProto) -> None:
    if len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1])
        if axes is None:
            raise ExportError(
                f"node '{node.name}': its axes are computed, which older opsets forbid"
            )
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    del node.input[1:]


def _split_sizes(graph: Graph, node: NodeProto) -> None:
    """Drop ``num_outputs``: without sizes, older opsets cut into equal parts, as it says."""
    del graph
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == "num_outputs":
            del node.attribute[index]


_RULES: dict[str, Callable[[Graph, NodeProto], None]] = {
    "Reduce": _axes_to_attribute,
    "Split": _split_sizes,
}
