"""Writing a model in an older opset."""

import numpy as np
import onnx
import pytest

from edgekd.core.errors import ExportError
from edgekd.export import opset
from edgekd.export.graph import Graph
from tests.export import graphs
from tests.export.graphs import Builder


@pytest.mark.parametrize("version", [13, 15, 17])
def test_opset_asked_for_is_the_opset_written(version: int) -> None:
    b = Builder(opset=18)
    axes = b.constant("axes", np.array([1], np.int64))
    x = b.node("ReduceMax", b.conv("images", 16, 16), axes, keepdims=1, noop_with_empty_axes=0)
    b.nodes.append(
        graphs.helper.make_node("Split", [x], ["top", "bottom"], "s/Split", axis=2, num_outputs=2)
    )
    x = b.node("Flatten", b.node("Add", "top", "bottom"))
    model = b.model(b.node("Gemm", x, b.weight("w", 32, 5)))
    images_nchw = graphs.images(model)
    before_nk = graphs.run(model, images_nchw)
    opset.lower(model, version)
    assert opset.of(model) == version
    assert graphs.run(model, images_nchw) == pytest.approx(before_nk)


def test_ir_version_is_the_oldest_that_holds_the_opset() -> None:
    model = graphs.plain()
    opset.lower(model, 17)
    assert model.ir_version == 8


def test_operator_that_an_opset_lacks_is_refused_by_name() -> None:
    model = graphs.excited()  # HardSwish came with 14
    with pytest.raises(ExportError, match="13: node 'swish/HardSwish': there is no operator"):
        opset.lower(model, 13)


def test_attributes_that_change_nothing_are_dropped() -> None:
    b = Builder(opset=18)
    values = [b.constant(name, np.linspace(0.5, 1, 16, dtype=np.float32)) for name in "abcd"]
    x = b.node("BatchNormalization", "images", *values, training_mode=0)  # 13 knows no such mode
    model = b.model(b.head(x, 16))
    images_nchw = graphs.images(model)
    before_nk = graphs.run(model, images_nchw)
    opset.lower(model, 13)
    assert (opset.of(model), model.ir_version) == (13, 7)
    assert graphs.run(model, images_nchw) == pytest.approx(before_nk)


def reshaped(sizes: list[int]) -> onnx.ModelProto:
    b = Builder(opset=18)
    pooled = b.node("MaxPool", "images", kernel_shape=[4, 4], strides=[4, 4])
    shape = b.constant("shape", np.array(sizes, np.int64))
    flat = b.node("Reshape", pooled, shape, allowzero=1, name="flat")
    return b.model(b.node("Gemm", flat, b.weight("w", 64, 5)))


def test_reshape_without_sizes_of_zero_is_as_before() -> None:
    model = reshaped([-1, 64])
    images_nchw = graphs.images(model)
    before_nk = graphs.run(model, images_nchw)
    opset.lower(model, 13)
    assert graphs.run(model, images_nchw) == pytest.approx(before_nk)


def test_reshape_to_a_size_of_zero_is_refused_by_name() -> None:
    fault = opset._rewrite(reshaped([0, 64]), 13)
    assert fault is not None
    assert fault.startswith("node 'flat/Reshape': its sizes are zero or computed")


def test_older_form_that_computes_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forget_axes(graph: Graph, node: onnx.NodeProto) -> None:
        del node.input[1:]  # then it reduces over all axes

    b = Builder(opset=18)
    axes = b.constant("axes", np.array([2, 3], np.int64))
    x = b.node("ReduceMax", b.conv("images", 16, 16), axes, keepdims=1, name="max")
    x = b.node("Flatten", b.node("Add", x, b.conv("images", 16, 16, name="c")))
    model = b.model(b.node("Gemm", x, b.weight("w", 16 * 64, 5)))
    before = model.SerializeToString(deterministic=True)
    monkeypatch.setitem(opset._RULES, "Reduce", forget_axes)
    with pytest.raises(ExportError, match=r"outputs .* would change\. .* later opset, up to 18"):
        opset.lower(model, 17)
    assert model.SerializeToString(deterministic=True) == before


def test_axes_that_are_computed_cannot_be_lowered() -> None:
    b = Builder(opset=18)
    size = b.node("Shape", "images", name="size", start=1, end=2)
    sixteen = b.constant("sixteen", np.array([16], np.int64))
    axes = b.node("Div", size, sixteen, name="axes")  # 1, as it happens
    x = b.node("Flatten", b.node("ReduceMax", "images", axes, name="max"))
    model = b.model(b.node("Gemm", x, b.weight("w", 64, 5)))
    with pytest.raises(ExportError, match="'max/ReduceMax': its axes are computed"):
        opset.lower(model, 17)


def test_newer_opset_than_the_model_has_is_refused() -> None:
    with pytest.raises(ExportError, match="set opset = 17 in the target"):
        opset.lower(graphs.plain(), 19)
