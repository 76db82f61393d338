"""What is found inside of an ONNX file."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekd.core.errors import RecordError
from edgekd.evaluate.probes import Network
from tests import nets


def test_an_int8_file_is_compared_where_it_is_quantised(
    exports: dict[str, Path],
) -> None:
    tensors = Network(exports["onnx-int8"]).tensors
    assert tensors["layer1.0/Add"].name == "layer1.0/Add"  # only its ReLU is quantised
    relu = tensors["layer1.0.relu2/Relu"]
    assert relu.name == "layer1.0.relu2/Relu/dequantised"
    assert (relu.layer, relu.operator, relu.shape) == ("layer1.0.relu2", "Relu", (16, 8, 8))
    assert not [key for key in tensors if "weight" in key or "bias" in key]


def test_a_tensor_behind_a_reshape_that_infers_the_batch_is_found(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["images", "shape"], ["x/Reshape"]),
        helper.make_node("Relu", ["x/Reshape"], ["x/Relu"]),
        helper.make_node("Relu", ["x/Relu"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.array([-1, 4], np.int64), "shape")]
    file = nets.write(tmp_path / "net.onnx", nodes, ("N", 1, 2, 2), ("N", 4), constants)
    tensors = Network(file).tensors
    assert {key: tensor.shape for key, tensor in tensors.items()} == {
        "x/Reshape": (4,), "x/Relu": (4,), "logits": (4,)
    }  # fmt: skip


def test_what_does_not_keep_images_apart_is_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["images"], ["x/Transpose"], perm=[1, 0, 2, 3]),
        helper.make_node("Shape", ["images"], ["x/Shape"]),
        helper.make_node("Relu", ["weight"], ["x/Relu"]),
        helper.make_node("Flatten", ["images"], ["logits"]),
    ]
    constants = [numpy_helper.from_array(np.ones((1, 2), np.float32), "weight")]
    file = nets.write(tmp_path / "net.onnx", nodes, ("N", 1, 2, 2), ("N", 4), constants)
    assert list(Network(file).tensors) == ["logits"]


def test_a_probe_holds_only_what_its_tensors_need(exports: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "probe.onnx"
    Network(exports["onnx-fp32"]).write(["relu/Relu", "conv1/Conv"], file)
    probe = onnx.load(str(file))
    onnx.checker.check_model(probe, full_check=True)
    assert [node.op_type for node in probe.graph.node] == [
        "Conv", "Relu", "Flatten", "Flatten", "Concat"
    ]  # fmt: skip
    constants = {one.name for one in probe.graph.initializer}
    assert constants == set(probe.graph.node[0].input[1:])
    assert "conv1.weight" in constants


def test_what_feeds_a_sum_are_both_of_its_branches(exports: dict[str, Path]) -> None:
    net = Network(exports["onnx-fp32"])
    both = ["layer2.0.conv2/Conv", "layer2.0.shortcut.0/Conv"]
    assert net.before("layer2.0/Add", net.tensors) == both
    assert net.before("layer2.0/Add", {"conv1/Conv"}) == ["conv1/Conv"]
    assert net.before("conv1/Conv", net.tensors) == []


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(RecordError, match=r"torn\.onnx' cannot be read"):
        Network(tmp_path / "torn.onnx")
