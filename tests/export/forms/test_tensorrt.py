"""Placement in TensorRT's form."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgekd.export import qdq
from edgekd.export.graph import Graph, attribute
from edgekd.export.plan import count_layers
from tests.export import graphs, trt_rules
from tests.export.graphs import TENSORRT, Builder, with_rules


def quantised(model: ModelProto, target: object = TENSORRT) -> ModelProto:
    plan = qdq.place(model, target)
    images_nchw = graphs.images(model)
    return qdq.write(model, plan, graphs.ranges(model, plan.tensors, images_nchw), target)


@pytest.mark.parametrize("net", graphs.ALL)
def test_written_graph_keeps_every_rule_of_tensorrt(net: str) -> None:
    written = quantised(graphs.ALL[net]())
    onnx.checker.check_model(written, full_check=True)
    assert trt_rules.faults(written) == []
    assert count_layers(written)[1] == 0


def spoiled_zero_point(model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "images/zero_point":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.int8), tensor.name))


def spoiled_axis(model: ModelProto) -> None:
    node = next(n for n in model.graph.node if n.name == "conv1/Conv/weight/DequantizeLinear")
    del node.attribute[:]


def spoiled_weight(model: ModelProto) -> None:
    node = next(n for n in model.graph.node if n.name == "conv2/Conv")
    node.input[1] = "conv2.weight"
    weight = np.zeros((16, 16, 3, 3), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "conv2.weight"))


@pytest.mark.parametrize("spoil", [spoiled_zero_point, spoiled_axis, spoiled_weight])
def test_the_rules_of_tensorrt_see_a_fault(spoil: object) -> None:
    written = quantised(graphs.plain())
    spoil(written)
    assert trt_rules.faults(written)


def test_no_q_stands_between_a_convolution_and_its_activation() -> None:
    plan = qdq.place(graphs.plain(), TENSORRT)
    assert plan.tensors == ["images", "relu1/Relu", "m5/Flatten"]


def test_skip_input_of_an_addition_is_quantised_and_the_branch_is_not() -> None:
    written = quantised(graphs.residual())
    add = next(node for node in written.graph.node if node.name == "add_a/Add")
    assert list(add.input) == ["a2/Conv", "relu0/Relu/dequantised"]


def test_of_two_convolutions_before_an_addition_the_shortcut_is_quantised() -> None:
    written = quantised(graphs.residual())
    add = next(node for node in written.graph.node if node.name == "add_b/Add")
    assert list(add.input) == ["b2/Conv", "down/Conv/dequantised"]


def test_inputs_of_a_concat_and_what_reads_it_share_one_scale() -> None:
    written = quantised(graphs.inception())
    graph = Graph(written)
    concat = next(node for node in written.graph.node if node.op_type == "Concat")
    sides = [graph.producer(name) for name in concat.input]
    behind = graph.producer("concat/Concat/dequantised")
    scales = [graph.constant(node.input[1]) for node in [*sides, behind]]
    assert len({float(scale) for scale in scales}) == 1


def test_pooling_between_two_quantised_tensors_keeps_their_scale() -> None:
    written = quantised(graphs.inception())
    graph = Graph(written)
    before, after = graph.constant("relu0/Relu/scale"), graph.constant("pool/MaxPool/scale")
    assert before == after


def test_every_reader_of_a_tensor_shares_its_one_pair() -> None:
    written = quantised(graphs.residual())
    readers = Graph(written).readers("relu2/Relu/dequantised")
    assert sorted(node.name for node, _ in readers) == ["b1/Conv", "down/Conv"]


def test_convolution_that_others_read_is_no_branch_to_fuse_with() -> None:
    b = Builder()
    x = b.conv("images", 16, 16, name="first")
    other = b.conv(b.conv(x, 16, 16, name="second"), 16, 16, name="third")
    flat = b.node("Add", b.node("Relu", other, name="relu"), x, name="add")
    plan = qdq.place(b.model(b.head(flat, 16)), TENSORRT)
    assert "relu/Relu" not in plan.tensors


def test_concats_of_concats_share_one_scale() -> None:
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="one"), name="relu1")
    y = b.node("Relu", b.conv("images", 16, 16, name="two"), name="relu2")
    inner = b.node("Concat", x, y, name="inner", axis=1)
    outer = b.node("Concat", inner, "images", name="outer", axis=1)
    model = b.model(b.head(b.conv(outer, 48, 16, name="last"), 16))
    groups = qdq.place(model, TENSORRT).groups()
    names = ["images", "inner/Concat", "outer/Concat", "relu1/Relu", "relu2/Relu"]
    assert sorted(next(group for group in groups.values() if len(group) > 1)) == names


@pytest.mark.parametrize(("transposed", "axis"), [(1, 0), (0, 1)])
def test_scales_of_a_gemm_lie_along_its_output_channels(transposed: int, axis: int) -> None:
    b = Builder()
    flat = b.node("Flatten", b.node("GlobalAveragePool", "images"))
    shape = (24, 16) if transposed else (16, 24)
    x = b.node("Gemm", flat, b.weight("w", *shape), name="fc", transB=transposed)
    written = quantised(b.model(x))
    node = next(n for n in written.graph.node if n.name == "fc/Gemm/weight/DequantizeLinear")
    assert attribute(node, "axis") == axis
    assert Graph(written).constant(node.input[1]).shape == (24,)


def test_scales_of_a_transposed_convolution_lie_along_axis_1() -> None:
    b = Builder()
    x = b.node("ConvTranspose", "images", b.weight("w", 16, 24, 2, 2), name="up", strides=[2, 2])
    written = quantised(b.model(b.head(x, 24)))
    node = next(
        n for n in written.graph.node if n.name == "up/ConvTranspose/weight/DequantizeLinear"
    )
    assert attribute(node, "axis") == 1


def test_transposed_convolution_in_groups_gets_one_scale() -> None:
    b = Builder(channels=32)
    weight = b.weight("w", 32, 24, 3, 3)
    x = b.node("ConvTranspose", "images", weight, name="up", group=2)
    written = quantised(b.model(b.head(x, 48)))
    assert Graph(written).constant("up/ConvTranspose/weight/scale").shape == ()


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "group", "small"),
    [
        (3, 32, 3, 1, False),  # the first layer of most networks
        (16, 16, 3, 1, False),
        (3, 12, 3, 1, True),  # neither side is large
        (32, 32, 3, 32, False),  # each channel for itself
        (32, 32, 1, 32, True),
        (36, 36, 3, 36, True),  # not a multiple of 8
    ],
)
def test_layers_that_gain_nothing_on_tensor_cores_stay_float(
    inputs: int, outputs: int, kernel: int, group: int, *, small: bool
) -> None:
    b = Builder(channels=inputs)
    x = b.conv("images", inputs, outputs, kernel=kernel, group=group, name="first")
    x = b.conv(x, outputs, 16, name="second")
    plan = qdq.place(b.model(b.head(x, 16)), TENSORRT)
    assert ("first/Conv" not in plan.layers) == small


def test_ten_logits_are_too_few_for_int8() -> None:
    b = Builder()
    model = b.model(b.head(b.conv("images", 16, 16, name="conv"), 16, outputs=10))
    assert "head/Gemm" not in qdq.place(model, TENSORRT).layers
    everything = with_rules(TENSORRT, small_layers="int8")
    assert "head/Gemm" in qdq.place(model, everything).layers


def test_last_linear_layer_stays_float_if_asked() -> None:
    plan = qdq.place(graphs.plain(), with_rules(TENSORRT, last_linear=False))
    assert list(plan.layers) == ["conv1/Conv", "conv2/Conv"]


def test_layers_named_by_globs_stay_float() -> None:
    plan = qdq.place(graphs.residual(), with_rules(TENSORRT, keep_float=("a*", "down")))
    assert list(plan.layers) == ["stem/Conv", "b1/Conv", "b2/Conv", "head/Gemm"]


def test_addition_behind_float_convolutions_stays_float() -> None:
    written = quantised(graphs.residual(), with_rules(TENSORRT, keep_float=("a*", "stem")))
    add = next(node for node in written.graph.node if node.name == "add_a/Add")
    assert list(add.input) == ["a2/Conv", "relu0/Relu"]
