"""Anybody's file is read, and a broken one is refused in words."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekd.core.errors import UsageError
from edgekd.lint import run
from edgekd.lint.model import Graph, external_fault, load
from tests.lint.graphs import Net, sound


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08", bytes(range(256))])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not an ONNX model"):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.onnx"):
        with pytest.raises(UsageError, match="cannot be read"):
            load(path)


def test_a_file_beyond_2_gib_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(UsageError, match="external data"):
        load(path)


def external(tmp_path: Path, **changes: str) -> Graph:
    """Save a model with its weights beside it, then change where they are said to lie."""
    path = tmp_path / "model.onnx"
    model = sound().model()
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    model = onnx.load_model(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())
    return load(path)


def test_external_weights_are_read_when_needed(tmp_path: Path) -> None:
    graph = external(tmp_path)
    expected = sound().constants["c1.w.int"]
    np.testing.assert_array_equal(graph.constant("c1.w.int"), expected)
    assert not [finding for finding in run.lint(graph).findings if finding.severity == "error"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "no.bin", "missing"),
        ("location", "", "missing"),
        ("location", "../../etc/passwd", "outside"),
        ("location", "w\0.bin", "cannot be read"),
        ("length", "99999999", "fewer than"),
        ("length", "many", "cannot be read"),
    ],
)
def test_external_weights_elsewhere_are_named_and_not_read(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    graph = external(tmp_path, **{key: value})
    faults = [external_fault(t, graph.folder) for t in graph.initialisers.values()]
    assert all(message in fault for fault in faults)
    assert graph.constant("c1.w.int") is None
    assert "T010" in {finding.rule for finding in run.lint(graph).findings}


def test_a_link_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"0" * 10_000)
    graph = external(folder)
    (folder / "w.bin").unlink()
    (folder / "w.bin").symlink_to(tmp_path / "secret.bin")
    assert "outside" in external_fault(graph.initialisers["c1.w.int"], folder)


def test_shapes_are_inferred_as_far_as_they_go() -> None:
    graph = Graph(sound().model())
    assert graph.shape("c2") == [1, 16, 8, 8]
    assert graph.shape("nothing") is None
    contradiction = Net().floats("w", 16, 5, 3, 3).node("Conv", "x w", "c").node("Relu", "c", "y")
    assert Graph(contradiction.model()).shape("x") == [1, 16, 8, 8]


def test_a_dynamic_size_is_none_and_an_unknown_rank_too() -> None:
    assert Graph(Net(shape=("n", 3)).node("Relu", "x", "y").model()).shape("x") == [None, 3]
    assert Graph(Net(shape=None).node("Relu", "x", "y").model()).shape("x") is None


def test_constants_are_seen_through_pairs_and_from_nodes() -> None:
    net = sound()
    value = helper.make_tensor("v", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = Graph(net.node("Constant", "", "k", value=value).model())
    np.testing.assert_array_equal(graph.constant("k"), [1, 2])
    assert graph.weights_behind("c1.w") == "c1.w.int"
    assert graph.weights_behind("c1.x") == ""


def test_a_circle_of_nodes_does_not_hold_up() -> None:
    net = Net().node("Identity", "a", "b").node("Identity", "b", "a").node("Conv", "x a", "y")
    assert run.lint(Graph(net.model())).findings


def judge(model: ModelProto) -> None:
    run.lint(Graph(model, labelled_int8=True, dla=True), [(8, 5), (11, 4)])


def test_nodes_without_inputs_or_outputs_stop_no_rule() -> None:
    for index in range(len(sound().nodes)):
        for left in range(3):
            net = sound()
            node = net.nodes[index]
            del node.input[left:]
            judge(net.model())
            del node.output[:]
            judge(net.model())


def test_attributes_of_a_wrong_type_stop_no_rule() -> None:
    for kind in ("Conv", "ConvTranspose", "Gemm", "MaxPool", "Resize", "DequantizeLinear"):
        for wrong in (1.5, b"word", [1, 2], "word", helper.make_tensor("t", 1, [1], [0.0])):
            names = (
                "axis", "group", "transB", "kernel_shape", "dilations", "mode", "antialias",
                "block_size", "output_dtype", "training_mode", "value",
            )  # fmt: skip
            net = Net().weights("w", 16, 16, 3, 3).node(kind, "x w", "y")
            net.nodes[-1].attribute.extend(helper.make_attribute(name, wrong) for name in names)
            net.nodes[0].attribute[0].CopyFrom(helper.make_attribute("axis", wrong))
            judge(net.model())


def test_damaged_bytes_are_refused_or_judged(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(sound().model().SerializeToString(), np.uint8)
    # Damage to the weights is harmless: aim at the first 400 bytes, where the nodes are, too.
    for trial in range(300):
        damaged = whole.copy()
        end = 400 if trial % 2 else len(whole)
        damaged[random.integers(0, end, random.integers(1, 6))] = random.integers(0, 256)
        path = tmp_path / "model.onnx"
        path.write_bytes(damaged.tobytes()[: None if trial % 5 else random.integers(1, end)])
        try:
            graph = load(path, labelled_int8=True, dla=True)
        except UsageError:
            continue
        run.lint(graph, [(8, 5), (11, 4)])
