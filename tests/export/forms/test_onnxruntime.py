"""Placement in ONNX Runtime's form, checked in the graph that it in fact computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgekd.export import qdq
from edgekd.export.graph import Graph
from edgekd.export.plan import count_layers
from tests.export import graphs
from tests.export.graphs import INT8, Builder, with_rules

INTEGER = {"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid", "QGemm"}
FLOAT = {"Conv", "FusedConv", "NhwcFusedConv", "Relu", "Clip", "Gemm", "Add", "Concat"}
FLOAT |= {"BatchNormalization", "Sigmoid", "AveragePool", "GlobalAveragePool", "MatMul"}


def quantised(model: ModelProto, target: object = INT8) -> ModelProto:
    prepared = qdq.prepare(model, target)
    plan = qdq.place(prepared, target)
    images_nchw = graphs.images(model)
    written = qdq.write(prepared, plan, graphs.ranges(model, plan.tensors, images_nchw), target)
    onnx.checker.check_model(written, full_check=True)
    return written


@pytest.mark.parametrize("net", graphs.ALL)
def test_runtime_computes_every_layer_in_integers(net: str, tmp_path: Path) -> None:
    written = quantised(graphs.ALL[net]())
    layers = sum(node.op_type == "Conv" for node in written.graph.node)
    found = graphs.optimised(written, tmp_path)
    assert found["QLinearConv"] == layers
    assert found["QGemm"] == (products := sum(n.op_type == "Gemm" for n in written.graph.node))
    assert not FLOAT & set(found)
    assert count_layers(written) == (layers + products, 0)


@pytest.mark.parametrize("net", ["plain", "residual", "inception", "inverted"])
def test_only_the_images_are_quantised_at_run_time(net: str, tmp_path: Path) -> None:
    found = graphs.optimised(quantised(graphs.ALL[net]()), tmp_path)
    assert found["QuantizeLinear"] == 1
    assert found["DequantizeLinear"] == 0


def test_operators_without_integer_kernels_are_float_islands(tmp_path: Path) -> None:
    found = graphs.optimised(quantised(graphs.excited()), tmp_path)
    assert found["QLinearMul"] == 1  # the gate's product
    assert found["HardSigmoid"] == 2  # the runtime writes HardSwish as HardSigmoid and Mul
    assert found["Mul"] == 1


@pytest.mark.parametrize("net", graphs.ALL)
def test_seven_bits_give_the_same_logits_on_every_processor(net: str) -> None:
    # Not fused, Q and DQ are computed in floating point, where nothing can saturate.
    model = graphs.ALL[net]()
    written = quantised(model)
    images_nchw = graphs.images(model, 32, seed=1)
    exact_nk = graphs.run(written, images_nchw, fused=False)
    fused_nk = graphs.run(written, images_nchw)
    # A value on the edge of two integers may fall to either side.
    assert np.abs(fused_nk - exact_nk).max() < 0.05 * exact_nk.std()


@pytest.mark.parametrize("net", graphs.ALL)
def test_int8_logits_follow_the_float_model(net: str) -> None:
    model = graphs.ALL[net]()
    images_nchw = graphs.images(model, 32)
    expected_nk = graphs.run(model, images_nchw)
    found_nk = graphs.run(quantised(model), images_nchw)
    assert np.abs(found_nk - expected_nk).max() < 0.25 * expected_nk.std()


def test_relu_is_left_to_the_clamp_of_its_q() -> None:
    written = quantised(graphs.plain())
    assert not [node for node in written.graph.node if node.op_type == "Relu"]
    assert Graph(written).constant("relu1/Relu/zero_point") == 0


def test_relu_before_the_logits_is_kept() -> None:
    b = Builder()
    flat = b.node("Flatten", b.node("GlobalAveragePool", "images"))
    x = b.node("Add", b.linear(flat, 16, 20), b.linear(flat, 16, 20))
    written = quantised(b.model(b.node("Relu", x)))
    assert [node.op_type for node in written.graph.node][-1] == "Relu"


def test_transposed_convolution_has_no_integer_kernel_and_stays_float() -> None:
    b = Builder()
    weight = b.weight("up.weight", 16, 16, 2, 2)
    x = b.node("ConvTranspose", "images", weight, name="up", strides=[2, 2])
    written = quantised(b.model(b.head(b.conv(x, 16, 16, name="conv"), 16)))
    assert count_layers(written) == (2, 1)


def test_pooling_keeps_the_scale_of_its_input() -> None:
    model = graphs.inception()
    plan = qdq.place(model, INT8)
    ranges = dict.fromkeys(plan.tensors, (0.0, 1.0)) | {"pool/MaxPool": (0.0, 2.0)}
    graph = Graph(qdq.write(model, plan, ranges, INT8))
    assert graph.constant("pool/MaxPool/scale") == graph.constant("relu0/Relu/scale")


def test_clamp_that_zero_lies_outside_of_is_kept() -> None:
    b = Builder()
    low, high = b.constant("low", np.float32(1)), b.constant("high", np.float32(6))
    x = b.node("Clip", b.conv("images", 16, 16, name="conv"), low, high, name="clip")
    x = b.conv(x, 16, 16, name="next")
    model = b.model(b.head(x, 16))
    written = quantised(model)
    assert [node.name for node in written.graph.node if node.op_type == "Clip"] == ["clip/Clip"]
    images_nchw = graphs.images(model)
    expected_nk = graphs.run(model, images_nchw)
    assert np.abs(graphs.run(written, images_nchw) - expected_nk).max() < 0.25 * expected_nk.std()


def test_bias_is_int32_in_the_scale_of_input_times_weight() -> None:
    graph = Graph(quantised(graphs.plain()))
    bias = graph.constant("conv2/Conv/bias/quantised")
    expected = graph.constant("relu1/Relu/scale") * graph.constant("conv2/Conv/weight/scale")
    assert bias.dtype == np.int32
    assert graph.constant("conv2/Conv/bias/scale") == pytest.approx(expected)


def test_logits_are_never_quantised() -> None:
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="conv"), name="relu")
    x = b.node("Flatten", b.node("GlobalAveragePool", b.conv(x, 16, 20, name="classify")))
    plan = qdq.place(b.model(x), INT8)
    assert plan.tensors == ["images", "relu/Relu", "classify/Conv"]


def test_convolution_that_makes_the_logits_stays_float() -> None:
    b = Builder(pixels=1)
    x = b.node("Relu", b.conv("images", 16, 16, kernel=1, name="conv"), name="relu")
    x = b.node("Flatten", b.conv(x, 16, 20, kernel=1, name="classify"))
    written = quantised(b.model(x))
    assert count_layers(written) == (1, 1)


def test_batch_normalisation_that_cannot_be_folded_becomes_an_integer_convolution(
    tmp_path: Path,
) -> None:
    b = Builder()
    x = b.node("Concat", b.conv("images", 16, 16, name="conv"), "images", name="concat", axis=1)
    random = np.random.default_rng(1)
    values = [random.uniform(0.5, 2, 32).astype(np.float32) for _ in range(4)]
    constants = [b.constant(f"norm.{i}", value) for i, value in enumerate(values)]
    x = b.node("BatchNormalization", x, *constants, name="norm")
    x = b.conv(b.node("Relu", x, name="relu"), 32, 16, name="after")
    model = b.model(b.head(x, 16))
    images_nchw = graphs.images(model)
    prepared = qdq.prepare(model, INT8)
    assert graphs.run(prepared, images_nchw) == pytest.approx(
        graphs.run(model, images_nchw), abs=1e-4
    )
    found = graphs.optimised(quantised(model), tmp_path)
    assert found["QLinearConv"] == 3
    assert not FLOAT & set(found)


def test_normalisations_of_one_module_become_convolutions_of_their_own() -> None:
    b = Builder()
    values = [np.full(16, value, np.float32) for value in (1, 0, 0, 1)]
    constants = [b.constant(f"norm.{i}", value) for i, value in enumerate(values)]
    x = b.node("BatchNormalization", "images", *constants, name="norm")
    b.nodes[-1].name = "/BatchNormalization"
    x = b.node("BatchNormalization", b.node("Relu", x), *constants, name="again")
    b.nodes[-1].name = "/BatchNormalization_1"
    prepared = qdq.prepare(b.model(b.head(x, 16)), INT8)
    assert [node.name for node in prepared.graph.node[:3:2]] == ["/Conv", "/Conv_1"]


def test_arithmetic_on_shapes_is_left_alone() -> None:
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="conv"), name="relu")
    size = b.node("Shape", x, name="size", start=0, end=1)
    zero = b.constant("zero", np.array([0], np.int64))
    batch = b.node("Gather", size, zero, name="batch")
    rest = b.constant("rest", np.array([-1], np.int64))
    shape = b.node("Concat", batch, rest, name="shape", axis=0)
    x = b.node("Reshape", x, shape, name="flat")
    weight = b.weight("w", 16 * 64, 20)
    written = quantised(b.model(b.node("MatMul", x, weight, name="fc")))
    pairs = [node.name for node in written.graph.node if node.op_type == "QuantizeLinear"]
    assert [name.partition("/")[0] for name in pairs] == ["images", "relu", "flat"]


def test_matrix_product_before_a_float_operator_returns_float() -> None:
    b = Builder()
    flat = b.node("Flatten", b.node("GlobalAveragePool", "images"), name="flat")
    x = b.node("Gemm", flat, b.weight("w", 32, 16), name="fc", transB=1)
    x = b.node("HardSwish", x, name="swish")
    x = b.node("Gemm", x, b.weight("v", 20, 32), name="last", transB=1)
    plan = qdq.place(b.model(x), INT8)
    assert "fc/Gemm" not in plan.tensors
    assert "swish/HardSwish" in plan.tensors


def test_more_bits_can_be_asked_for() -> None:
    seven = Graph(quantised(graphs.plain())).constant("conv1/Conv/weight/quantised")
    eight = Graph(quantised(graphs.plain(), with_rules(INT8, weight_bits=8))).constant(
        "conv1/Conv/weight/quantised"
    )
    assert np.abs(seven).max() == 64
    assert np.abs(eight).max() == 127
