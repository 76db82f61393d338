"""Name nodes and tensors after PyTorch modules: "layer1.0.conv1/Conv"."""

import ast

from onnx import ModelProto, NodeProto

from edgekd.export.graph import WEIGHTED, Graph

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_of(node_name: str) -> str:
    """Return the module that a node stands for: "layer1.0.conv1"; "": the network itself."""
    return node_name.rpartition("/")[0]


def unique(name: str, taken: set[str]) -> str:
    """Return ``name``, with a number behind it if it is taken, and take it."""
    free, number = name, 0
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def name_all(model: ModelProto) -> None:
    """Rename nodes, tensors and initialisers, in place, and drop what the exporter noted.

    Nodes become MODULE/OPERATOR, made unique by a number; a tensor is called like the node that
    computes it; weights keep their names in the checkpoint. The exporter's notes hold the paths of
    the machine, which are nobody's business.
    """
    graph = Graph(model)
    taken: set[str] = set()
    tensors = {name: name for name in graph.inputs + graph.outputs}
    for node in graph.nodes:
        node.name = unique(f"{_module(graph, node)}/{node.op_type}", taken)
        for index, output in enumerate(node.output):
            if output:
                tensors.setdefault(output, f"{node.name}:{index}" if index else node.name)
    constants = _constants(graph, tensors)
    for tensor in model.graph.initializer:
        tensor.name = constants[tensor.name]
        del tensor.metadata_props[:]
    for node in graph.nodes:
        node.input[:] = [tensors.get(name) or constants.get(name, "") for name in node.input]
        node.output[:] = [tensors.get(name, "") for name in node.output]
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""


def _module(graph: Graph, node: NodeProto) -> str:
    weight = node.input[1] if node.op_type in WEIGHTED and len(node.input) > 1 else ""
    if graph.is_constant(weight) and weight.endswith(".weight"):
        # A folded batch normalisation left its own scope on the convolution's node.
        return weight.removesuffix(".weight")
    for note in node.metadata_props:
        if note.key == _SCOPES:
            scopes = ast.literal_eval(note.value)  # ["", "layer1", "layer1.0", "add_1"]
            return str(scopes[-2]) if len(scopes) > 1 else ""
    return ""


def _constants(graph: Graph, tensors: dict[str, str]) -> dict[str, str]:
    taken = set(tensors.values())
    names: dict[str, str] = {}
    for node in graph.nodes:
        for index, old in enumerate(node.input):
            if graph.is_constant(old) and old not in names:
                names[old] = unique(_constant(node, index), taken)
    return names


def _constant(node: NodeProto, index: int) -> str:
    module = module_of(node.name)
    if node.op_type in WEIGHTED and module and index in {1, 2}:
        return f"{module}.{'weight' if index == 1 else 'bias'}"
    return f"{node.name}.{index}"
