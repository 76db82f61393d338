"""A rewritten graph that computes something else is taken back."""

import numpy as np
import onnx
from onnx import ModelProto

from edgekd.export import qdq, tidy, verify
from edgekd.export.graph import Graph, set_constant
from tests.export import graphs


def rescale_head(model: ModelProto) -> None:
    graph = Graph(model)
    value = graph.constant("head.weight")
    assert value is not None
    set_constant(model, "head.weight", value * np.float32(1.01))


def rename(model: ModelProto) -> None:
    model.graph.node[0].name = "other"


def drop_last(model: ModelProto) -> None:
    del model.graph.node[-1]


def test_a_step_that_changes_results_is_taken_back_and_noted() -> None:
    model = graphs.plain()
    before = model.SerializeToString(deterministic=True)
    (note,) = verify.rewrite(model, [rescale_head])
    assert note == (
        "the simplification 'rescale head' was taken back: outputs on random images would change"
    )
    assert model.SerializeToString(deterministic=True) == before


def test_steps_before_and_after_a_bad_one_stay() -> None:
    model = graphs.plain()
    notes = verify.rewrite(model, [rename, drop_last, tidy._drop_identities])
    assert [note.split("'")[1] for note in notes] == ["drop last"]
    assert model.graph.node[0].name == "other"
    onnx.checker.check_model(model, full_check=True)


def test_rounding_is_no_change_of_results() -> None:
    model = graphs.plain()

    def nudge(model: ModelProto) -> None:
        value = Graph(model).constant("head.bias")
        assert value is not None
        set_constant(model, "head.bias", value * np.float32(1 + 1e-6))

    assert verify.rewrite(model, [nudge]) == ()


def test_tidying_keeps_q_and_dq() -> None:
    model = graphs.plain()
    plan = qdq.place(model, graphs.TENSORRT)
    ranges = dict.fromkeys(plan.tensors, (-2.0, 3.0))
    quantised = qdq.write(model, plan, ranges, graphs.TENSORRT)

    def pairs() -> list[str]:
        return [node.name for node in quantised.graph.node if "Linear" in node.op_type]

    before = pairs()
    assert len(before) > 4
    assert tidy.tidy(quantised) == ()
    assert pairs() == before
