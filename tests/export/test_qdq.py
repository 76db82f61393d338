"""The writer of Q and DQ."""

import logging

import numpy as np
import pytest
from onnx import ModelProto

from edgekd.core.errors import ExportError
from edgekd.export import numbers, qdq
from edgekd.export.graph import Graph
from edgekd.export.plan import Plan
from tests.export import graphs
from tests.export.graphs import INT8, TENSORRT, Builder, with_rules


def everything(model: ModelProto, low: float, high: float) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(qdq.place(model, TENSORRT).tensors, (low, high))


def test_scale_of_a_symmetric_tensor_is_its_largest_value_over_127() -> None:
    model = graphs.plain()
    plan = qdq.place(model, TENSORRT)
    written = qdq.write(model, plan, everything(model, -2.54, 1.0), TENSORRT)
    assert Graph(written).constant("images/scale") == pytest.approx(0.02)


def test_float_model_is_left_as_it_is() -> None:
    model = graphs.plain()
    before = model.SerializeToString()
    qdq.write(model, qdq.place(model, TENSORRT), everything(model, -1, 1), TENSORRT)
    assert model.SerializeToString() == before


def test_same_model_and_ranges_give_the_same_bytes() -> None:
    first, second = (
        qdq.write(
            model, qdq.place(model, TENSORRT), everything(model, -1, 1), TENSORRT
        ).SerializeToString(deterministic=True)
        for model in (graphs.residual(), graphs.residual())
    )
    assert first == second


def test_int8_weights_take_a_quarter_of_the_bytes() -> None:
    b = Builder(channels=64)
    x = b.conv(b.conv("images", 64, 128, name="one"), 128, 128, name="two")
    model = b.model(b.head(x, 128))
    for target in (INT8, TENSORRT):
        plan = qdq.place(model, target)
        ranges = dict.fromkeys(plan.tensors, (-1.0, 1.0))
        written = qdq.write(model, plan, ranges, target)
        assert 0.24 < written.ByteSize() / model.ByteSize() < 0.28


def test_dead_tensor_gets_a_scale_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    model = graphs.plain()
    ranges = everything(model, -1, 1) | {"relu1/Relu": (0.0, 0.0)}
    with caplog.at_level(logging.WARNING):
        written = qdq.write(model, qdq.place(model, TENSORRT), ranges, TENSORRT)
    assert Graph(written).constant("relu1/Relu/scale") == 1
    assert "'relu1/Relu' is zero for all calibration images" in caplog.text


@pytest.mark.parametrize("bad", [(0.0, float("nan")), (-float("inf"), 0.0), (1.0, -1.0)])
def test_range_that_is_none_is_refused_by_name(bad: tuple[float, float]) -> None:
    model = graphs.plain()
    ranges = everything(model, -1, 1) | {"relu1/Relu": bad}
    with pytest.raises(ExportError, match="range of tensor 'relu1/Relu'"):
        qdq.write(model, qdq.place(model, TENSORRT), ranges, TENSORRT)


def test_missing_range_is_refused_by_name() -> None:
    model = graphs.plain()
    with pytest.raises(ExportError, match="no range for tensor 'images'"):
        qdq.write(model, qdq.place(model, TENSORRT), {}, TENSORRT)


def test_network_without_weights_cannot_become_int8() -> None:
    b = Builder()
    model = b.model(b.node("Flatten", b.node("GlobalAveragePool", "images")))
    with pytest.raises(ExportError, match="leave every layer in float"):
        qdq.place(model, INT8)


def test_glob_that_matches_no_layer_is_refused() -> None:
    with pytest.raises(ExportError, match=r"keep_float matches no layer: layer9\.\*"):
        qdq.place(graphs.plain(), with_rules(INT8, keep_float=("conv1", "layer9.*")))


def test_shared_scale_covers_every_member() -> None:
    model = graphs.inception()
    plan = qdq.place(model, TENSORRT)
    ranges = everything(model, -1, 1) | {"one/Conv": (-1, 1), "relu2/Relu": (0.0, 5.08)}
    written = qdq.write(model, plan, ranges, TENSORRT)
    assert Graph(written).constant("relu1/Relu/scale") == pytest.approx(0.04)


def test_sharing_is_transitive() -> None:
    plan = Plan(tensors=["a", "b", "c", "d"])
    plan.share("a", "b")
    plan.share("c", "b")
    plan.share("c", "a")
    assert sorted(map(sorted, plan.groups().values())) == [["a", "b", "c"], ["d"]]


def test_channel_of_tiny_weights_leaves_room_for_its_bias() -> None:
    b = Builder()
    x = b.conv("images", 16, 16, name="conv")
    model = b.model(b.head(x, 16))
    for tensor in model.graph.initializer:
        if tensor.name == "conv.weight":
            tensor.CopyFrom(graphs.numpy_helper.from_array(
                np.full((16, 16, 3, 3), 1e-12, np.float32), tensor.name
            ))  # fmt: skip
    plan = qdq.place(model, INT8)
    ranges = graphs.ranges(model, plan.tensors, graphs.images(model))
    written = qdq.write(model, plan, ranges, INT8)
    graph = Graph(written)
    found = graph.constant("conv/Conv/bias/quantised") * graph.constant("conv/Conv/bias/scale")
    expected = Graph(model).constant("conv.bias")
    assert found == pytest.approx(expected, rel=1e-6)
    images_nchw = graphs.images(model)
    logits_nk = graphs.run(model, images_nchw)
    assert graphs.run(written, images_nchw) == pytest.approx(
        logits_nk, abs=0.05 * float(np.abs(logits_nk).max())
    )


def test_bias_room_keeps_the_bias_below_half_of_int32() -> None:
    room = numbers.bias_room(np.array([8.0], np.float32), activation_scale=0.5)
    assert 8.0 / (0.5 * room[0]) == 2**30
