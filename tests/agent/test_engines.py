from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgekd.agent import engines
from edgekd.agent.engines import onnxruntime
from edgekd.agent.protocol import AgentError
from tests import nets


def test_a_free_batch_is_none_and_a_fixed_one_a_number(tmp_path: Path) -> None:
    free = nets.linear(tmp_path / "free.onnx", np.eye(4), (1, 2, 2))
    fixed = nets.linear(tmp_path / "fixed.onnx", np.eye(4), (1, 2, 2), 8)
    assert engines.open_model("onnxruntime", str(free), 1).input_shape == (None, 1, 2, 2)
    assert engines.open_model("onnxruntime", str(fixed), 1).input_shape == (8, 1, 2, 2)


def test_bound_runs_write_what_inference_returns(tmp_path: Path) -> None:
    path = nets.linear(tmp_path / "net.onnx", np.arange(12).reshape(3, 4), (1, 2, 2))
    model = engines.open_model("onnxruntime", str(path), 1)
    images = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    expected = model.infer(images)
    model.bind(images)
    model.run()
    assert np.array_equal(model.bound_output(), expected)
    assert not np.array_equal(expected, np.zeros_like(expected))


def test_every_inference_has_the_times_of_its_nodes(tmp_path: Path) -> None:
    path = nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))
    model: Any = engines.open_model("onnxruntime", str(path), 1)
    times, _ = model.layer_times(np.ones((1, 1, 2, 2), np.float32), 3)
    assert [len(run) for run in times] == [2, 2, 2]  # Flatten, Gemm
    assert all(ms >= 0 for run in times for ms in run.values())


def test_nodes_belong_to_the_inference_that_ends_after_them() -> None:
    def node(name: str, us: int) -> dict[str, Any]:
        return {"cat": "Node", "name": name, "dur": us, "args": {"op_name": "Conv"}}

    end = {"cat": "Session", "name": "model_run", "dur": 9}
    found = onnxruntime.node_times(
        [
            node("a_fence_before", 9), node("a_kernel_time", 2000), node("_kernel_time", 500), end,
            node("a_kernel_time", 1000), end,
        ]
    )  # fmt: skip
    assert found == [{"a": 2.0, "Conv": 0.5}, {"a": 1.0}]


def test_a_node_is_described_once_by_its_operator_and_the_types_that_it_reads() -> None:
    def node(op_name: str, *types: str) -> dict[str, Any]:
        args = {"op_name": op_name, "output_type_shape": [{"uint8": [1, 4]}]}
        if types:
            args["input_type_shape"] = [{one: [1, 4]} for one in types]
        return {"cat": "Node", "name": "a_kernel_time", "dur": 1, "args": args}

    other = {"cat": "Session", "name": "model_run", "dur": 9}
    told = onnxruntime.described([node("QLinearAdd", "uint8", "float"), other] * 2)
    assert told == {
        "Layers": [
            {
                "Name": "a",
                "LayerType": "QLinearAdd",
                "Inputs": [{"Name": "", "Datatype": "uint8"}, {"Name": "", "Datatype": "float"}],
                "Outputs": [{"Name": "", "Datatype": "uint8"}],
            }
        ]
    }
    assert onnxruntime.described([node("Conv")])["Layers"][0]["Inputs"] == []


def test_an_input_of_other_numbers_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["images"], ["logits"])
    shape = ("N", 1, 2, 2)
    path = nets.write(tmp_path / "net.onnx", [node], shape, shape, kind=TensorProto.INT64)
    with pytest.raises(AgentError, match=r"one input of float32, but has: images tensor\(int64\)"):
        engines.open_model("onnxruntime", str(path), 1)


def test_an_input_that_is_no_image_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["images"], ["logits"])
    path = nets.write(tmp_path / "net.onnx", [node], ("N", 4), ("N", 4))
    with pytest.raises(AgentError, match="four dimensions"):
        engines.open_model("onnxruntime", str(path), 1)


def test_an_unknown_operator_is_the_models_fault(tmp_path: Path) -> None:
    node = helper.make_node("Teleport", ["images"], ["logits"])
    path = nets.write(tmp_path / "net.onnx", [node], ("N", 1, 2, 2), ("N", 4))
    with pytest.raises(AgentError, match="Teleport") as raised:
        engines.open_model("onnxruntime", str(path), 1)
    assert raised.value.kind == "model"


def test_an_unknown_engine_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AgentError, match="There are: onnxruntime"):
        engines.open_model("abacus", "net.onnx", 1)
