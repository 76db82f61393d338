from pathlib import Path

import numpy as np
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
    assert read_profile(tmp_path / "out" / "layers.json").inferences == layer_times.RUNS
