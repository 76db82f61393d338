"""FP16: which tensors become halves, and what stays FP32."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekd.core.errors import ExportError
from edgekd.export import half, runtime
from edgekd.export.graph import Graph
from tests.export import graphs
from tests.export.graphs import Builder


def halved(model: ModelProto) -> tuple[ModelProto, tuple[str, ...]]:
    images_nchw = graphs.images(model)
    return half.convert(model, runtime.largest(model, half.activations(model), images_nchw))


def kinds(model: ModelProto) -> dict[str, int]:
    """Return the element type of every tensor, constants among them."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def single(notes: tuple[str, ...]) -> list[str]:
    """Return the sentences on operators that stay FP32."""
    return [line for line in notes if "stays FP32" in line]


def node(model: ModelProto, kind: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in model.graph.node if node.op_type == kind)
    return found


def linear(weight: NDArray[np.float32]) -> ModelProto:
    """Return a network that averages each channel, and multiplies by a weight [K, C]."""
    b = Builder(channels=weight.shape[1], pixels=2)
    pooled = b.node("Flatten", b.node("GlobalAveragePool", "images"))
    name = b.constant("fc.weight", weight)
    bias = b.constant("fc.bias", np.zeros(len(weight), np.float32))
    return b.model(b.node("Gemm", pooled, name, bias, name="fc", transB=1))


def test_weight_is_rounded_to_the_nearest_half() -> None:
    # Halves of [1, 2) are 2**-10 apart; a tie goes to the even one.
    weight = np.array([[1 + 2.0**-10, 1 + 2.0**-12, 1 + 3 * 2.0**-11]], dtype=np.float32)
    result, notes = halved(linear(weight))
    value = Graph(result).constant("fc.weight")
    assert value is not None
    assert value.dtype == np.float16
    assert value.astype(np.float64).tolist() == [[1 + 2.0**-10, 1.0, 1 + 2.0**-9]]
    assert single(notes) == []


@pytest.mark.parametrize("make", graphs.ALL.values(), ids=graphs.ALL)
def test_input_and_output_stay_fp32_and_all_between_are_halves(
    make: Callable[[], ModelProto],
) -> None:
    model = make()
    result, notes = halved(model)
    found = kinds(result)
    assert single(notes) == []
    assert result.graph.input == model.graph.input
    assert result.graph.output == model.graph.output
    assert {found.pop(name) for name in ("images", "logits")} == {TensorProto.FLOAT}
    assert TensorProto.FLOAT not in found.values()
    assert [part.op_type for part in result.graph.node].count("Cast") == 2


@pytest.mark.parametrize("make", graphs.ALL.values(), ids=graphs.ALL)
def test_logits_are_those_of_the_float_graph(make: Callable[[], ModelProto]) -> None:
    model = make()
    expected_nk = graphs.run(model, graphs.images(model))
    found_nk = graphs.run(halved(model)[0], graphs.images(model))
    assert found_nk.dtype == np.float32
    assert 0 < np.abs(found_nk - expected_nk).max() < 0.01 * expected_nk.std()


def test_opset_and_names_of_weights_are_kept() -> None:
    model = graphs.residual()
    result, _ = halved(model)
    assert result.opset_import == model.opset_import
    assert {t.name for t in result.graph.initializer} == {t.name for t in model.graph.initializer}


def test_weight_beyond_the_largest_half_keeps_its_operator_in_fp32() -> None:
    result, notes = halved(linear(np.array([[65504.0, 65536.0]], dtype=np.float32)))
    assert notes == ("'fc/Gemm' stays FP32: 'fc.weight' holds 6.55e+04, beyond FP16's 65504",)
    found = kinds(result)
    assert found["fc.weight"] == found["fc.bias"] == TensorProto.FLOAT
    assert found["m0/GlobalAveragePool"] == TensorProto.FLOAT16


def test_weight_of_the_largest_half_becomes_a_half() -> None:
    result, notes = half.convert(linear(np.array([[65504.0]], dtype=np.float32)), {})
    assert kinds(result)["fc.weight"] == TensorProto.FLOAT16
    assert single(notes) == []


def overflowing(factor: float) -> ModelProto:
    """Return a network whose inside is that many times its input, and its logits near it."""
    b = Builder()
    by = b.constant("by", np.array([factor], np.float32))
    x = b.node("Mul", b.conv("images", 16, 16, name="stem"), by, name="up")
    x = b.node("Mul", x, by, name="upper")
    x = b.node("Div", b.node("Relu", x, name="relu"), by, name="down")
    x = b.node("Div", x, by, name="lower")
    return b.model(b.head(x, 16))


def test_activation_beyond_the_largest_half_keeps_what_touches_it_in_fp32() -> None:
    model = overflowing(1000)  # to some millions, by factors that are halves
    result, notes = halved(model)
    names = [line.split("'")[1] for line in single(notes)]
    assert names == ["upper/Mul", "relu/Relu", "down/Div"]
    assert "too near to FP16's 65504" in notes[0]
    found = kinds(result)
    assert found["relu/Relu"] == TensorProto.FLOAT
    assert found["up/Mul"] == TensorProto.FLOAT16
    expected_nk = graphs.run(model, graphs.images(model))
    found_nk = graphs.run(result, graphs.images(model))
    assert np.abs(found_nk - expected_nk).max() < 0.01 * expected_nk.std()


def test_activation_that_fits_does_not() -> None:
    assert single(halved(overflowing(30))[1]) == []


def test_constant_that_would_vanish_keeps_its_operator_in_fp32() -> None:
    b = Builder()
    tiny = b.constant("epsilon", np.array([1e-8], np.float32))
    x = b.node("Relu", b.conv("images", 16, 16, name="stem"), name="relu")
    x = b.node("Div", x, b.node("Add", x, tiny, name="add"), name="divide")
    model = b.model(b.head(x, 16))
    result, notes = halved(model)
    assert single(notes) == [
        "'add/Add' stays FP32: 'epsilon' is at most 1e-08, below FP16's normal numbers"
    ]
    assert kinds(result)["epsilon"] == TensorProto.FLOAT


def test_small_weights_are_counted() -> None:
    # 2**-14 is normal, 2**-20 is not, 2**-26 rounds to zero.
    weight = np.array([[1, 0, 2.0**-14, 2.0**-20, 2.0**-26]], dtype=np.float32)
    _, notes = halved(linear(weight))
    [note] = notes
    assert note.startswith("2 of 6 constants are below FP16's normal numbers (6.1e-05)")
    assert note.endswith("1 of them become zero")


def test_infinite_constant_stays_infinite() -> None:
    b = Builder()
    low, high = (
        b.constant("low", np.array(0, np.float32)),
        b.constant("high", np.array(np.inf, np.float32)),
    )
    x = b.node("Clip", b.conv("images", 16, 16, name="stem"), low, high, name="clip")
    result, notes = halved(b.model(b.head(x, 16)))
    value = Graph(result).constant("high")
    assert single(notes) == []
    assert value is not None
    assert value.dtype == np.float16
    assert np.isinf(value)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax", "LpNormalization"])
def test_exponentials_and_squares_stay_fp32(kind: str) -> None:
    b = Builder()
    x = b.node(kind, b.conv("images", 16, 16, name="stem"), name="attention", axis=1)
    result, notes = halved(b.model(b.head(x, 16)))
    assert notes[0].startswith(f"'attention/{kind}' stays FP32: it sums ")
    kept = node(result, kind)
    found = kinds(result)
    assert found[kept.input[0]] == found[kept.output[0]] == TensorProto.FLOAT
    assert found["stem/Conv"] == TensorProto.FLOAT16


@pytest.mark.parametrize(("pixels", "kept"), [(32, 0), (33, 1)])
def test_sum_of_more_than_1024_numbers_stays_fp32(pixels: int, kept: int) -> None:
    b = Builder(channels=16, pixels=pixels)
    result, notes = halved(b.model(b.head(b.conv("images", 16, 16, name="stem"), 16)))
    assert len(single(notes)) == kept
    kind = TensorProto.FLOAT if kept else TensorProto.FLOAT16
    assert kinds(result)[node(result, "GlobalAveragePool").output[0]] == kind


def test_scales_of_resize_stay_fp32_as_onnx_wants_them() -> None:
    b = Builder()
    scales = b.constant("scales", np.array([1, 1, 2, 2], np.float32))
    x = b.conv("images", 16, 16, name="stem")
    x = b.node("Resize", x, "", scales, name="up", mode="nearest")
    result, notes = halved(b.model(b.head(x, 16)))
    found = kinds(result)
    assert single(notes) == []
    assert found["scales"] == TensorProto.FLOAT
    assert found["up/Resize"] == TensorProto.FLOAT16


def test_constant_that_both_precisions_read_is_there_in_both() -> None:
    b = Builder()
    by = b.constant("by", np.full((1, 16, 1, 1), 2, np.float32))
    x = b.node("Mul", b.conv("images", 16, 16, name="stem"), by, name="mul")
    x = b.node("Mul", b.node("Softmax", x, name="attention", axis=1), by, name="again")
    big = b.constant("big", np.array([1e5], np.float32))
    x = b.node("Min", x, by, big, name="min")
    result, _ = halved(b.model(b.head(x, 16)))
    found = kinds(result)
    assert (found["by"], found["by/half"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)


def test_tensor_is_cast_once_for_all_its_readers() -> None:
    b = Builder()
    x = b.node("Softmax", b.conv("images", 16, 16, name="stem"), name="attention", axis=1)
    y = b.node("Relu", x, name="one")
    z = b.node("Sigmoid", x, name="two")
    result, _ = halved(b.model(b.head(b.node("Add", y, z, name="add"), 16)))
    casts = [part.input[0] for part in result.graph.node if part.op_type == "Cast"]
    assert sorted(casts) == ["attention/Softmax", "images", "logits/half", "stem/Conv"]


def test_logits_that_are_computed_in_fp32_need_no_cast() -> None:
    b = Builder()
    x = b.node("Softmax", b.head("images", 16), name="probabilities", axis=1)
    result, _ = halved(b.model(x))
    assert result.graph.node[-1].op_type == "Softmax"
    assert kinds(result)["logits"] == TensorProto.FLOAT


def test_cast_says_its_own_type() -> None:
    b = Builder()
    count = b.constant("count", np.array([3], np.int64))
    factor = b.node("Cast", count, name="factor", to=TensorProto.FLOAT)
    x = b.node("Mul", b.conv("images", 16, 16, name="stem"), factor, name="mul")
    model = b.model(b.head(x, 16))
    result, notes = halved(model)
    found = kinds(result)
    assert single(notes) == []
    assert found["factor/Cast"] == TensorProto.FLOAT
    assert found["factor/Cast/half"] == found["mul/Mul"] == TensorProto.FLOAT16


def test_branches_in_the_graph_are_refused() -> None:
    b = Builder()
    flag = b.constant("flag", np.array(True))
    value = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node("Identity", ["images"], ["chosen"])], name, [], [value])
        for name in ("yes", "no")
    ]
    x = b.node("If", flag, name="choice", then_branch=branches[0], else_branch=branches[1])
    model = b.model(b.head(x, 16))
    with pytest.raises(ExportError, match="holds a graph of its own"):
        half.convert(model, {})


def test_largest_values_are_those_of_all_batches() -> None:
    model = graphs.plain()
    images_nchw = graphs.images(model, count=40)
    images_nchw[37, 0, 0, 0] = -100
    names = half.activations(model)
    expected = graphs.tensors(model, [n for n in names if n != "images"], images_nchw)
    found = runtime.largest(model, names, images_nchw)
    assert found["images"] == 100
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.abs(values).max(), rel=1e-5), name
