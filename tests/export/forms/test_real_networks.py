"""TensorRT's placement on real networks: what fuses, what shares a scale, what stays float."""

import pytest
import torch
from onnx import ModelProto, NodeProto

from edgekd.export import qdq
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.graph import Graph, attribute
from edgekd.export.plan import Plan
from edgekd.models.build import build
from tests.export.graphs import TENSORRT

pytestmark = pytest.mark.slow

ADDS = {"resnet18": 8, "mobilenet_v2": 10, "googlenet": 0, "densenet121": 0}
CONCATS = {"resnet18": 0, "mobilenet_v2": 0, "googlenet": 9, "densenet121": 58}

Placed = tuple[str, Graph, Plan]


def export(name: str, classes: int) -> ModelProto:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(f"torchvision:{name}", classes)
    return onnx_format.to_onnx(module, (3, 64, 64), TENSORRT.opset, 1)[0]


@pytest.fixture(scope="module", params=sorted(ADDS))
def placed(request: pytest.FixtureRequest) -> Placed:
    model = export(request.param, 10)
    return request.param, Graph(model), qdq.place(model, TENSORRT)


def of_kind(graph: Graph, kind: str) -> list[NodeProto]:
    return [node for node in graph.nodes if node.op_type == kind]


def test_of_an_additions_inputs_the_skip_alone_is_quantised(placed: Placed) -> None:
    name, graph, plan = placed
    adds = [node for node in of_kind(graph, "Add") if len(graph.activations(node)) == 2]
    assert len(adds) == ADDS[name]
    for add in adds:
        (branch,) = (tensor for tensor in add.input if tensor not in plan.tensors)
        source = graph.producer(branch)
        assert source.op_type == "Conv", add.name
        assert graph.only_reader(branch) is add


def test_no_convolution_is_cut_off_from_its_activation(placed: Placed) -> None:
    _, graph, plan = placed
    for node in of_kind(graph, "Conv"):
        reader = graph.only_reader(node.output[0])
        if reader is not None and reader.op_type in {"Relu", "Clip"}:
            assert node.output[0] not in plan.tensors, node.name


def test_inputs_of_a_concat_that_is_read_in_int8_share_its_scale(placed: Placed) -> None:
    name, graph, plan = placed
    concats = of_kind(graph, "Concat")
    assert len(concats) == CONCATS[name]
    for concat in concats:
        if concat.output[0] in plan.tensors:
            assert {plan.root(tensor) for tensor in concat.input} == {plan.root(concat.output[0])}
            assert set(concat.input) <= set(plan.tensors)


def test_layers_of_few_channels_stay_float(placed: Placed) -> None:
    _, graph, plan = placed
    first = True
    for node in of_kind(graph, "Conv"):
        group = attribute(node, "group", 1)
        outputs, inputs, *kernel = graph.constant(node.input[1]).shape
        wide = max(outputs, inputs) >= 16 or first
        aligned = (outputs % 8 == 0 or inputs % 8 == 0) and len(set(kernel)) == 1
        gains = min(outputs, inputs) >= 16 or (wide and aligned)
        if group > 1:
            gains = outputs % 8 == 0 and min(kernel) >= 3
        assert (node.name in plan.layers) == gains, node.name
        first = False


def test_a_classifier_of_ten_outputs_stays_float(placed: Placed) -> None:
    _, graph, plan = placed
    (last,) = of_kind(graph, "Gemm")
    assert last.name not in plan.layers


def test_a_classifier_of_many_outputs_is_int8() -> None:
    model = export("resnet18", 100)
    (last,) = of_kind(Graph(model), "Gemm")
    assert last.name in qdq.place(model, TENSORRT).layers
