"""Where an ONNX file is quantised, and why a layer runs in float."""

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgekd.core.errors import UsageError
from edgekd.profile import placement
from tests import nets


def conv(
    path: Path, shape: tuple[int, ...], *, activation: bool, weight: bool, group: int = 1
) -> placement.Weighted:
    """Write one convolution with Q and DQ on its sides, and read it."""
    constants = [
        numpy_helper.from_array(np.ones(shape, np.float32), "weight"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes: list[NodeProto] = []
    inputs = []
    for name, wanted in (("images", activation), ("weight", weight)):
        if wanted:
            nodes += [
                helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}_q"]),
                helper.make_node("DequantizeLinear", [f"{name}_q", "scale", "zero"], [f"{name}_d"]),
            ]
        inputs.append(f"{name}_d" if wanted else name)
    nodes.append(helper.make_node("Conv", inputs, ["logits"], name="conv1/Conv", group=group))
    channels = shape[1] * group
    nets.write(path, nodes, (1, channels, 4, 4), (1, shape[0], 4, 4), constants)
    return placement.read_placement(path)["conv1/Conv"]


@pytest.mark.parametrize(
    ("shape", "group", "activation", "weight", "reason"),
    [
        ((32, 32, 1, 1), 1, False, False, "no Q/DQ on it"),
        ((32, 32, 1, 1), 1, False, True, "no Q/DQ on its input"),
        ((32, 32, 1, 1), 1, True, False, "no Q/DQ on its weight"),
        ((32, 3, 1, 1), 1, True, True, "few channels (3 in, 32 out)"),
        ((33, 32, 1, 1), 1, True, True, "channels are no multiple of 4 (32 in, 33 out)"),
        ((32, 1, 3, 3), 32, True, True, "grouped (32 groups): seldom faster in INT8"),
        ((32, 32, 1, 1), 1, True, True, "quantised, but TensorRT chose a float kernel"),
    ],
)
def test_a_convolution_has_a_reason_to_run_in_float(
    shape: tuple[int, ...],
    group: int,
    activation: bool,  # noqa: FBT001
    weight: bool,  # noqa: FBT001
    reason: str,
    tmp_path: Path,
) -> None:
    found = conv(tmp_path / "net.onnx", shape, activation=activation, weight=weight, group=group)
    assert found.reason() == reason


@pytest.mark.parametrize(
    ("operator", "shape", "more", "sizes"),
    [
        ("Gemm", (10, 64), {"transB": 1}, (64, 10)),
        ("Gemm", (64, 10), {}, (64, 10)),
        ("MatMul", (64, 10), {}, (64, 10)),
        ("Conv", (32, 8, 3, 3), {"group": 4}, (32, 32)),
        ("ConvTranspose", (64, 8, 3, 3), {"group": 2}, (64, 16)),
    ],
)
def test_channels_are_counted_in_each_layout(
    operator: str, shape: tuple[int, ...], more: dict[str, int], sizes: object, tmp_path: Path
) -> None:
    weight = numpy_helper.from_array(np.ones(shape, np.float32), "weight")
    node = helper.make_node(operator, ["images", "weight"], ["logits"], **more)
    nets.write(tmp_path / "net.onnx", [node], (1, 64, 4, 4), (1, 10), [weight])
    found = placement.read_placement(tmp_path / "net.onnx")["node_of_logits"]
    assert (found.inputs, found.outputs) == sizes


def test_q_and_dq_count_through_what_moves_values(tmp_path: Path) -> None:
    constants = [
        numpy_helper.from_array(np.ones((32, 32, 1, 1), np.float32), "weight"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        helper.make_node("MaxPool", ["dq"], ["pooled"], kernel_shape=[2, 2]),
        helper.make_node("Conv", ["pooled", "weight"], ["logits"], name="conv"),
    ]
    nets.write(tmp_path / "net.onnx", nodes, (1, 32, 4, 4), (1, 32, 3, 3), constants)
    found = placement.read_placement(tmp_path / "net.onnx")["conv"]
    assert found.activation
    assert not found.weight


def test_a_circle_of_nodes_ends(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["b"], ["a"]),
        helper.make_node("Reshape", ["a"], ["b"]),
        helper.make_node("Conv", ["a", "b"], ["logits"], name="conv"),
    ]
    nets.write(tmp_path / "net.onnx", nodes, (1,), (1,), kind=TensorProto.FLOAT)
    found = placement.read_placement(tmp_path / "net.onnx")["conv"]
    assert (found.inputs, found.outputs, found.activation) == (0, 0, False)


@pytest.mark.parametrize("content", [b"no model", None])
def test_what_is_no_onnx_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=r"net.onnx' (is not an ONNX file|cannot be read)"):
        placement.read_placement(tmp_path / "net.onnx")
