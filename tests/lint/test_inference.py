import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.lint import inference


def model(*, width: int = 64) -> ModelProto:
    """x [1, 64] times large weights [64, 40], brought to a shape that is an initialiser."""
    weights = np.ones((width, 40), np.float32)
    places = np.arange(2000, dtype=np.int64)
    constants = {"w": weights, "shape": np.array([5, 8], np.int64), "places": places}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["flat"], "product"),
            helper.make_node("Reshape", ["flat", "shape"], ["y"], "reshape"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        doc_string="of the graph",
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.metadata_props.add(key="k", value="v")
    return made


def test_sizes_are_inferred_as_with_the_weights() -> None:
    found, faults = inference.infer(model())
    assert faults == ""
    (output,) = found.graph.output
    assert [dim.dim_value for dim in output.type.tensor_type.shape.dim] == [5, 8]


def test_operands_that_do_not_fit_are_told() -> None:
    _, faults = inference.infer(model(width=63))
    assert "product" in faults


def test_large_weights_alone_lose_their_values() -> None:
    whole = model()
    light = inference.without_weights(whole)
    assert [bool(each.raw_data) for each in light.graph.initializer] == [False, True, True]
    assert list(light.graph.initializer[0].dims) == [64, 40]
    assert whole.graph.initializer[0].raw_data
    light.graph.initializer[0].CopyFrom(whole.graph.initializer[0])
    assert light == whole
