"""Names after PyTorch modules."""

from onnx import ModelProto

from edgekd.export import names
from tests.export import graphs


def noted(model: ModelProto, node: int, scopes: str) -> None:
    note = model.graph.node[node].metadata_props.add()
    note.key, note.value = "pkg.torch.onnx.name_scopes", scopes
    trace = model.graph.node[node].metadata_props.add()
    trace.key, trace.value = "pkg.torch.onnx.stack_trace", 'File "/somewhere/net.py"'


def test_weighted_nodes_are_called_after_the_module_of_their_weight() -> None:
    model = graphs.plain()
    # After folding, a convolution carries the scope of its batch normalisation.
    noted(model, 0, "['', 'layer1.bn1', 'batch_norm']")
    names.name_all(model)
    assert model.graph.node[0].name == "conv1/Conv"
    assert list(model.graph.node[0].input) == ["images", "conv1.weight", "conv1.bias"]


def test_other_nodes_are_called_after_their_scope() -> None:
    model = graphs.plain()
    noted(model, 1, "['', 'layer1', 'layer1.relu', 'relu_1']")
    noted(model, 3, "['', 'layer1', 'layer1.relu', 'relu_2']")
    names.name_all(model)
    assert [node.name for node in model.graph.node[:4]] == [
        "conv1/Conv",
        "layer1.relu/Relu",
        "conv2/Conv",
        "layer1.relu/Relu_1",  # one module that is called twice
    ]


def test_nothing_of_the_exporters_notes_is_left() -> None:
    model = graphs.plain()
    noted(model, 1, "['', 'relu', 'relu_1']")
    names.name_all(model)
    assert b"/somewhere" not in model.SerializeToString()


def test_interface_keeps_its_names_and_the_arithmetic_its_result() -> None:
    model = graphs.residual()
    images_nchw = graphs.images(model)
    before_nk = graphs.run(model, images_nchw)
    names.name_all(model)
    assert (graphs.run(model, images_nchw) == before_nk).all()
    assert model.graph.output[0].name == "logits"


def test_module_of_a_node_is_what_stands_before_the_operator() -> None:
    assert names.module_of("layer1.0.conv1/Conv") == "layer1.0.conv1"
    assert names.module_of("/Reshape_1") == ""
