"""What is mended computes what it computed before."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekd.core.errors import UsageError
from edgekd.lint import run
from edgekd.lint.fix import fix, write
from edgekd.lint.model import Graph
from tests.lint.graphs import IMAGES, Net, sound


def rules(model: ModelProto) -> set[str]:
    return {finding.rule for finding in run.lint(Graph(model), [(10, 3)]).findings}


def logits(model: ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    images = np.random.default_rng(1).standard_normal(IMAGES).astype(np.float32)
    return session.run(None, {"x": images})[0]


def neglected() -> ModelProto:
    """A sound graph but for what can be mended."""
    net = Net().pair("x", "xq")
    net.weights("w", 16, 16, 3, 3, axis=1)
    del net.nodes[-1].input[2:]
    del net.nodes[-1].attribute[:]
    net.node("Identity", "xq", "i1").node("Dropout", "i1", "i2").node("Conv", "i2 w", "c")
    net.node("Relu", "c", "y")
    net.nodes[0].name = ""
    model = net.model()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 16, 6, 6]))
    return model


def test_the_harmless_is_mended_and_nothing_else_computed() -> None:
    before = neglected()
    assert {"Q002", "Q007", "T009", "T011"} <= rules(before)
    after, done = fix(Graph(before))
    onnx.checker.check_model(after, full_check=True)
    assert not {"Q002", "Q007", "T009", "T011"} & rules(after)
    assert len(done) == 4
    np.testing.assert_array_equal(logits(after), logits(before))


def test_a_name_that_was_given_twice_is_kept_by_the_first() -> None:
    net = sound()
    net.find("r1").name = "c1"
    after, _ = fix(Graph(net.model()))
    names = {node.output[0]: node.name for node in after.graph.node}
    assert (names["c1"], names["r1"]) == ("c1", "c1_")


def test_a_sound_model_is_left_alone() -> None:
    model = sound().model()
    after, done = fix(Graph(model))
    assert done == []
    assert after == model


def test_the_model_given_is_not_changed() -> None:
    model = neglected()
    copied = ModelProto.FromString(model.SerializeToString())
    fix(Graph(model))
    assert model == copied


def test_an_activation_without_zero_point_is_left_alone_for_its_meaning_differs() -> None:
    net = sound()
    for name in ("c1.x.q", "c1.x"):
        del net.find(name).input[2:]
    after, _ = fix(Graph(net.model()))
    assert [len(node.input) for node in after.graph.node[:2]] == [2, 2]


def test_what_the_network_gives_out_or_a_branch_reads_is_kept() -> None:
    out = Net().node("Identity", "x", "y").model()
    assert len(fix(Graph(out))[0].graph.node) == 1
    inner = helper.make_graph(
        [helper.make_node("Relu", ["kept"], ["d"])], "then", [],
        [helper.make_tensor_value_info("d", 1, None)],
    )  # fmt: skip
    net = Net().put("c", [True], np.bool_).node("Identity", "x", "kept")
    net.node("If", "c", "y", then_branch=inner, else_branch=inner)
    assert len(fix(Graph(net.model()))[0].graph.node) == 2


def test_dropout_in_training_mode_is_kept() -> None:
    net = Net().put("r", 0.5).put("on", np.array(True), np.bool_)
    model = net.node("Dropout", "x r on", "d").node("Relu", "d", "y").model()
    assert len(fix(Graph(model))[0].graph.node) == 2


def test_external_data_stay_beside_their_model(tmp_path: Path) -> None:
    model = sound().model()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(UsageError, match="beside the model"):
        write(model, tmp_path, tmp_path / "elsewhere" / "out.onnx")
    write(model, tmp_path, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").is_file()
