"""One form for what exporters write."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from edgekd.export import tidy
from edgekd.export.graph import Graph
from tests.export import graphs
from tests.export.graphs import Builder


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def norm(b: Builder, x: str, channels: int) -> str:
    values = [b.random.uniform(0.5, 2, channels).astype(np.float32) for _ in range(4)]
    constants = [b.constant(f"n{len(b.nodes)}.{i}", value) for i, value in enumerate(values)]
    return b.node("BatchNormalization", x, *constants, name=f"norm{len(b.nodes)}", epsilon=1e-3)


def same_after_tidying(model: ModelProto) -> list[str]:
    images_nchw = graphs.images(model)
    before_nk = graphs.run(model, images_nchw)
    tidy.tidy(model)
    onnx.checker.check_model(model, full_check=True)
    assert graphs.run(model, images_nchw) == pytest.approx(before_nk, abs=1e-4)
    return kinds(model)


def test_batch_normalisation_goes_into_the_convolution_before_it() -> None:
    b = Builder()
    x = b.node("Relu", norm(b, b.conv("images", 16, 16), 16))
    without_bias = b.node("Conv", x, b.weight("w", 16, 16, 1, 1), name="bare")
    found = same_after_tidying(b.model(b.head(norm(b, without_bias, 16), 16)))
    assert found == ["Conv", "Relu", "Conv", "GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_normalisation_goes_into_the_matrix_product_before_it(transposed: int) -> None:
    b = Builder()
    flat = b.node("Flatten", b.node("GlobalAveragePool", "images"))
    shape = (24, 16) if transposed else (16, 24)
    x = norm(b, b.node("Gemm", flat, b.weight("w", *shape), transB=transposed), 24)
    found = same_after_tidying(b.model(b.node("Gemm", x, b.weight("v", 24, 5))))
    assert found == ["GlobalAveragePool", "Flatten", "Gemm", "Gemm"]


def test_batch_normalisation_goes_into_a_transposed_convolution() -> None:
    b = Builder()
    x = b.node("ConvTranspose", "images", b.weight("w", 16, 8, 2, 2), strides=[2, 2])
    found = same_after_tidying(b.model(b.head(norm(b, x, 8), 8)))
    assert "BatchNormalization" not in found


def test_matrix_product_without_bias_keeps_its_batch_normalisation() -> None:
    b = Builder()
    flat = b.node("Flatten", b.node("GlobalAveragePool", "images"))
    x = norm(b, b.node("MatMul", flat, b.weight("w", 16, 24)), 24)
    found = same_after_tidying(b.model(b.node("Gemm", x, b.weight("v", 24, 5))))
    assert "BatchNormalization" in found


def test_transposed_convolution_in_groups_keeps_its_batch_normalisation() -> None:
    b = Builder()
    x = b.node("ConvTranspose", "images", b.weight("w", 16, 4, 2, 2), strides=[2, 2], group=2)
    assert "BatchNormalization" in same_after_tidying(b.model(b.head(norm(b, x, 8), 8)))


def test_convolution_that_others_read_keeps_its_batch_normalisation() -> None:
    b = Builder()
    x = b.conv("images", 16, 16, name="conv")
    x = b.node("Add", norm(b, x, 16), x)
    assert "BatchNormalization" in same_after_tidying(b.model(b.head(x, 16)))


def test_weights_that_two_convolutions_share_are_not_folded_into() -> None:
    b = Builder()
    weight = b.weight("w", 16, 16, 1, 1)
    x = norm(b, b.node("Conv", "images", weight, name="one"), 16)
    x = b.node("Conv", x, weight, name="two")
    assert "BatchNormalization" in same_after_tidying(b.model(b.head(x, 16)))


@pytest.mark.parametrize(("axes", "keepdims"), [([2, 3], 1), ([-1, -2], 1), ([2, 3], 0)])
def test_mean_over_the_pixels_is_a_global_average_pool(axes: list[int], keepdims: int) -> None:
    b = Builder(opset=18)
    axes_name = b.constant("axes", np.array(axes, np.int64))
    x = b.node("ReduceMean", "images", axes_name, keepdims=keepdims)
    x = b.node("Flatten", x)
    found = same_after_tidying(b.model(b.node("Gemm", x, b.weight("w", 16, 5))))
    assert "GlobalAveragePool" in found
    assert "ReduceMean" not in found


def test_mean_over_channels_is_left_alone() -> None:
    b = Builder(opset=18)
    axes = b.constant("axes", np.array([1], np.int64))
    x = b.node("Flatten", b.node("ReduceMean", "images", axes))
    found = same_after_tidying(b.model(b.node("Gemm", x, b.weight("w", 64, 5))))
    assert "ReduceMean" in found


def test_mean_over_the_end_of_other_tensors_is_left_alone() -> None:
    b = Builder(opset=18)
    axes = b.constant("axes", np.array([-2, -1], np.int64))
    shape = b.constant("shape", np.array([-1, 4, 4, 8, 8], np.int64))
    x = b.node("ReduceMean", b.node("Reshape", "images", shape), axes, keepdims=1)
    found = same_after_tidying(b.model(b.node("Gemm", b.node("Flatten", x), b.weight("w", 16, 5))))
    assert "ReduceMean" in found


def test_identities_and_constant_nodes_are_gone() -> None:
    b = Builder()
    x = b.node("Identity", b.node("Dropout", b.conv("images", 16, 16)))
    constant = numpy_helper.from_array(np.float32(2))
    b.nodes.append(helper.make_node("Constant", [], ["two"], "two", value=constant))
    x = b.node("Mul", x, "two")
    model = b.model(b.head(x, 16))
    assert same_after_tidying(model)[:2] == ["Conv", "Mul"]
    assert Graph(model).constant("two") == 2
