from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.core.errors import RecordError
from edgekd.remote import errand, weights
from tests import nets


def outside(folder: Path, place: str = "net.data") -> Path:
    """Write a network whose weights lie in a file of their own, or are said to."""
    path = nets.linear(folder / "net.onnx", np.eye(4), (1, 2, 2))
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_in_a_file_beside_the_model_go_with_it(tmp_path: Path) -> None:
    path = outside(tmp_path)
    assert errand.model(path).beside == (tmp_path / "net.data",)


def test_weights_inside_need_no_other_file(tmp_path: Path) -> None:
    assert errand.model(nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))).beside == ()


def test_weights_of_a_branch_are_found(tmp_path: Path) -> None:
    model = onnx.load(outside(tmp_path), load_external_data=False)
    branch = onnx.helper.make_graph([], "branch", [], [], list(model.graph.initializer))
    node = onnx.helper.make_node("If", ["yes"], ["no"], then_branch=branch)
    nets.write(tmp_path / "if.onnx", [node], (1, 1, 2, 2), (1, 4))
    assert weights.files_of(tmp_path / "if.onnx") == (tmp_path / "net.data",)


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "..", "sub/net.data", "..\\x"])
def test_a_model_cannot_ask_for_other_files(tmp_path: Path, place: str) -> None:
    with pytest.raises(RecordError, match="only files that lie beside it are sent"):
        errand.model(outside(tmp_path, place))


def test_what_is_no_onnx_file_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\xff\xff no model")
    assert weights.files_of(tmp_path / "net.onnx") == ()
    assert weights.files_of(tmp_path / "gone.onnx") == ()
