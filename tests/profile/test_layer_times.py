from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgekd.profile import layer_times
from edgekd.profile.layers import read_profile
from edgekd.remote import inventory
from tests import nets


@pytest.mark.parametrize(
    ("layer", "modules"),
    [
        ("/layer1/layer1.0/conv1/Conv", ("layer1.0.conv1",)),
        ("conv1/Conv + relu/Relu", ("conv1", "relu")),
        ("fc/Gemm + fc/Add", ("fc",)),
        ("Reformatting CopyNode for Input Tensor 0", ()),
    ],
)
def test_modules_are_read_from_the_name_of_a_layer(layer: str, modules: tuple[str, ...]) -> None:
    assert layer_times.modules_of(layer) == modules


def test_nodes_are_timed_longest_first_and_their_shares_add_up(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["images"], ["mid"], name="head/Softmax"),
        helper.make_node("Erf", ["mid"], ["logits"], name="head/Erf"),
    ]
    shape = (1, 4, 32, 32)
    model = nets.write(tmp_path / "net.onnx", nodes, shape, shape)
    images = np.ones(shape, np.float32)
    place = inventory.usable("host-cpu")
    rows = layer_times.measure(model, images, place, 1, tmp_path / "out" / "layers.json")
    assert {row.layer for row in rows} == {"head/Softmax", "head/Erf"}
    assert rows[0].ms >= rows[1].ms
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert rows[0].modules == ("head",)
    written = read_profile(tmp_path / "out" / "layers.json")
    assert written.inferences == layer_times.RUNS
    assert {layer.precision for layer in written.layers} == {"fp32"}


# Weights that alone are quantised become a kernel which does not say how it computes.
@pytest.mark.parametrize(
    ("pairs", "product"),
    [(("images", "weights", "sum"), "int8"), ((), "fp32"), (("weights",), "")],
)
def test_a_layer_has_the_precision_that_it_ran_in(
    pairs: tuple[str, ...], product: str, tmp_path: Path
) -> None:
    model = quantised_product(tmp_path / "net.onnx", pairs)
    images = np.ones((1, 4, 32, 32), np.float32)
    place = inventory.usable("host-cpu")
    rows = layer_times.measure(model, images, place, 1, tmp_path / "layers.json")
    found = {row.layer.partition("_token")[0]: row.precision for row in rows}
    assert found["product/MatMul"] == product
    assert found.get("q images", "fp32 to int8") == "fp32 to int8"


def quantised_product(path: Path, pairs: tuple[str, ...]) -> Path:
    """Write images @ weights with Q and DQ on some of its tensors."""
    constants = [
        onnx.numpy_helper.from_array(np.float32(0.1), "scale"),
        onnx.numpy_helper.from_array(np.uint8(0), "zero"),
        onnx.numpy_helper.from_array(np.ones((32, 32), np.uint8), "q of weights"),
        onnx.numpy_helper.from_array(np.ones((32, 32), np.float32), "weights"),
    ]

    def pair(name: str, *, constant: bool = False) -> list[onnx.NodeProto]:
        q = ["QuantizeLinear", [name, "scale", "zero"], [f"q of {name}"], f"q {name}"]
        from_q = [f"q of {name}", "scale", "zero"]
        dq = ["DequantizeLinear", from_q, [f"dq of {name}"], f"dq {name}"]
        chosen = (dq,) if constant else (q, dq)
        return [helper.make_node(*each) for each in chosen]

    def read(name: str) -> str:
        return f"dq of {name}" if name in pairs else name

    nodes = [
        *(pair("images") if "images" in pairs else []),
        *(pair("weights", constant=True) if "weights" in pairs else []),
        helper.make_node(
            "MatMul", [read("images"), read("weights")], ["sum"], name="product/MatMul"
        ),
        *(pair("sum") if "sum" in pairs else []),
        helper.make_node("Relu", [read("sum")], ["logits"], name="relu/Relu"),
    ]
    shape = (1, 4, 32, 32)
    return nets.write(path, nodes, shape, shape, constants)
