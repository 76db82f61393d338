"""Write a model in the opset that was asked for, or say why not."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from edgekd.core.errors import ExportError
from edgekd.export import verify
from edgekd.export.graph import Graph, attribute, replace_nodes

# Attributes that 14 and 18 brought; where they are 0, all is as before.
_NOTHING_NEW = ("noop_with_empty_axes", "antialias", "training_mode")


def of(model: ModelProto) -> int:
    """Return the version of the default operator set."""
    versions = [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    return int(versions[0])


def lower(model: ModelProto, opset: int) -> None:
    """Rewrite a model for an older opset, in place; the IR version is the oldest that holds it.

    The exporter writes 18 and later; TensorRT 8.5 reads up to 17. onnx's own version converter has
    no rule for Split and BatchNormalization, and leaves attributes behind that opset 17 does not
    know. Outputs on random images are compared before and after.

    Raises:
        ExportError: an operator cannot be written in that opset, or would compute something else.
    """
    present = of(model)
    if opset > present:
        raise ExportError(
            f"the exporter wrote opset {present} where {opset} was asked for: "
            f"set opset = {present} in the target"
        )
    expected = verify.outputs(model)
    older = ModelProto.FromString(model.SerializeToString())
    fault = _rewrite(older, opset) or verify.fault_of(older, expected)
    if fault:
        raise ExportError(
            f"the model cannot be written in opset {opset}: {fault}. Choose a platform or a target "
            f"with a later opset, up to {present}, or replace the layer in the network"
        )
    model.CopyFrom(older)


def _rewrite(model: ModelProto, opset: int) -> str | None:
    """Write a model in an older opset by the rules below; return what stands in the way."""
    graph, present = Graph(model), of(model)
    for node in graph.nodes:
        if _version(node, opset) != _version(node, present):
            fault = _lower(graph, node, opset)
            if fault:
                return f"node '{node.name}': {fault}"
    replace_nodes(model, graph.nodes)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", opset)])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    return None


def _version(node: NodeProto, opset: int) -> int:
    try:
        return int(onnx.defs.get_schema(node.op_type, opset, node.domain).since_version)
    except onnx.defs.SchemaError:
        return -1


def _lower(graph: Graph, node: NodeProto, opset: int) -> str | None:
    """Rewrite a node, or return why it cannot be."""
    if _version(node, opset) == -1:
        return f"there is no operator {node.op_type} yet"
    adapter = next(
        (rule for prefix, rule in _RULES.items() if node.op_type.startswith(prefix)), None
    )
    fault = adapter(graph, node) if adapter is not None else None
    for name in _NOTHING_NEW:
        if not attribute(node, name, 0):
            _drop(node, name)
    return fault


def _drop(node: NodeProto, name: str) -> None:
    for index in reversed(range(len(node.attribute))):
        if node.attribute[index].name == name:
            del node.attribute[index]


def _axes_to_attribute(graph: Graph, node: NodeProto) -> str | None:
    if len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1])
        if axes is None:
            return "its axes are computed, which older opsets forbid"
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))
    del node.input[1:]
    return None


def _split_sizes(graph: Graph, node: NodeProto) -> str | None:
    """Drop ``num_outputs``: without sizes, older opsets cut into equal parts, as it says."""
    del graph
    _drop(node, "num_outputs")
    return None


def _plain_reshape(graph: Graph, node: NodeProto) -> str | None:
    """Drop ``allowzero`` where no size is zero: there it says nothing."""
    sizes = graph.constant(node.input[1])
    if attribute(node, "allowzero", 0) and (sizes is None or not np.all(sizes)):
        return "its sizes are zero or computed, and older opsets copy a size for a zero"
    _drop(node, "allowzero")
    return None


_RULES: dict[str, Callable[[Graph, NodeProto], str | None]] = {
    "Reduce": _axes_to_attribute,
    "Reshape": _plain_reshape,
    "Split": _split_sizes,
}
