"""Why INT8 is not faster: shares by hand, each cause alone, and the example's answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgekd.core.errors import UsageError
from edgekd.profile.explain import Explanation, explain
from tests import nets

EXAMPLES = Path(__file__).parents[1] / "data" / "engines"


def conv(name: str, weights: str, given: str = "images", made: str = "") -> dict[str, Any]:
    kind = {"Int8": "Int8", "Half": "FP16"}[weights]
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Weights": {"Type": weights, "Count": 9},
        "Inputs": [{"Name": given, "Format/Datatype": kind}],
        "Outputs": [{"Name": made or f"{name}.out", "Format/Datatype": kind}],
    }


def other(name: str, kind: str, given: str, made: str) -> dict[str, Any]:
    ends = [[{"Name": end, "Format/Datatype": "FP16"}] for end in (given, made)]
    return {"Name": name, "LayerType": kind, "Inputs": ends[0], "Outputs": ends[1]}


def answer(
    folder: Path, layers: list[Any], times: dict[str, float] | list[tuple[str, float]]
) -> Explanation:
    """Explain an engine of these layers, with these times in ms."""
    pairs = times.items() if isinstance(times, dict) else times
    rows = [{"name": name, "timeMs": 1, "averageMs": ms} for name, ms in pairs]
    (folder / "layers.json").write_text(json.dumps({"Layers": layers}))
    (folder / "profile.json").write_text(json.dumps([{"count": 100}, *rows]))
    return explain(folder / "layers.json", folder / "profile.json")


def test_shares_are_of_the_sum_of_all_layers(tmp_path: Path) -> None:
    found = answer(tmp_path, [conv("a", "Int8"), conv("b", "Half")], {"a": 3.0, "b": 1.0})
    assert found.total_ms == 4
    assert (found.int8_share, found.int8_layers, found.weighted_layers) == (0.75, 1, 2)
    assert [(row.layer, row.share) for row in found.rows] == [("a", 0.75), ("b", 0.25)]
    assert [(cause.kind, cause.share) for cause in found.causes] == [("float", 0.25)]
    assert found.verdict == (
        "Layers that stayed in float cost most: 25% of 4 ms. "
        "1 of 2 layers with weights run in INT8, 75% of the time."
    )


def test_an_engine_in_int8_throughout_has_no_cause(tmp_path: Path) -> None:
    found = answer(tmp_path, [conv("a", "Int8"), conv("b", "Int8")], {"a": 3.0, "b": 1.0})
    assert found.causes == ()
    assert found.verdict.startswith("INT8 does its work: 2 of 2 layers")


def test_an_engine_without_int8_says_so_first(tmp_path: Path) -> None:
    found = answer(tmp_path, [conv("a", "Half")], {"a": 3.0})
    assert found.verdict == "INT8 is not used: none of 1 layers with weights runs in it."


def test_a_reformat_is_named_by_the_layers_that_it_lies_between(tmp_path: Path) -> None:
    layers = [
        conv("a", "Int8", made="x"),
        {**other("r", "Reformat", "x", "y"), "Inputs": [{"Name": "x", "Datatype": "Int8"}]},
        conv("b", "Half", given="y"),
    ]
    found = answer(tmp_path, layers, {"a": 1.0, "r": 8.0, "b": 1.0})
    assert found.rows[0].note == "int8 to fp16: a -> b"
    assert found.causes[0].kind == "reformat"
    assert found.verdict.startswith("Conversions and copies cost most: 80% of 10 ms.")


def test_an_activation_behind_a_convolution_is_a_lost_fusion(tmp_path: Path) -> None:
    layers = [
        conv("a", "Int8", made="x"),
        other("r", "Reformat", "x", "y"),
        other("PWN(relu)", "PointWiseV2", "y", "z"),
        other("PWN(late)", "PointWiseV2", "z", "end"),
    ]
    found = answer(tmp_path, layers, {"a": 1.0, "r": 0.0, "PWN(relu)": 1.0, "PWN(late)": 1.0})
    notes = {row.layer: row.note for row in found.rows}
    assert notes["PWN(relu)"] == "not fused with a"
    assert notes["PWN(late)"] == ""
    assert {cause.kind for cause in found.causes} == {"fusion", "rest", "reformat"}


def test_many_short_layers_are_bound_by_their_start(tmp_path: Path) -> None:
    names = [f"c{index}" for index in range(10)]
    layers = [conv(name, "Int8") for name in names]
    found = answer(tmp_path, layers, dict.fromkeys(names, 0.006))
    assert found.causes[0].kind == "launch"
    assert found.causes[0].share == pytest.approx(1)
    assert found.verdict.startswith(
        "Starting layers takes the time, not computing them: 10 of 10 layers take under 10 us"
    )
    long = answer(tmp_path, layers, dict.fromkeys(names, 0.010))
    assert long.causes == ()


def test_names_alone_give_times_and_no_causes(tmp_path: Path) -> None:
    found = answer(tmp_path, ["conv1/Conv", "relu/Relu"], {"conv1/Conv": 1.0, "relu/Relu": 1.0})
    assert "--profilingVerbosity=detailed" in found.verdict
    assert found.causes == ()
    assert [row.modules for row in found.rows] == [("conv1",), ("relu",)]


def test_layers_of_one_name_are_told_apart_by_their_order(tmp_path: Path) -> None:
    layers = [conv("a", "Int8"), conv("a", "Half")]
    found = answer(tmp_path, layers, [("a", 1.0), ("a", 3.0)])
    assert [(row.precision, row.ms) for row in found.rows] == [("fp16", 3.0), ("int8", 1.0)]


def test_a_layer_that_is_reported_twice_takes_the_sum(tmp_path: Path) -> None:
    found = answer(tmp_path, [conv("a", "Int8")], [("a", 1.0), ("a", 3.0)])
    assert found.rows[0].ms == 4


def test_times_without_a_layer_are_left_out_and_said(tmp_path: Path) -> None:
    found = answer(tmp_path, [conv("a", "Int8")], {"a": 3.0, "ghost": 1.0})
    assert found.total_ms == 3
    assert found.notes[0].startswith("25% of the profile's time is in layers that")


def test_files_of_two_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give files of the same engine"):
        answer(tmp_path, [conv("a", "Int8")], {"b": 1.0})


def test_a_profile_without_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gives no layer any time"):
        answer(tmp_path, [conv("a", "Int8")], {"a": 0.0})


def test_whole_inferences_tell_what_lies_between_layers(tmp_path: Path) -> None:
    entry = {"latencyMs": 9.0, "computeMs": 5.0, "h2dMs": 0, "d2hMs": 0}
    (tmp_path / "times.json").write_text(json.dumps([entry]))
    answer(tmp_path, [conv("a", "Int8")], {"a": 4.0})
    files = tmp_path / "layers.json", tmp_path / "profile.json"
    found = explain(*files, times=tmp_path / "times.json")
    assert found.latency_ms == 5
    assert "an inference takes 5 ms (median), its layers one by one 4 ms" in found.notes[0]


def test_the_onnx_file_tells_why_a_layer_is_float(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "weight")
    node = helper.make_node("Conv", ["images", "weight"], ["logits"], name="layer1.0.conv2/Conv")
    nets.write(tmp_path / "net.onnx", [node], (1, 64, 8, 8), (1, 64, 6, 6), [weight])
    files = EXAMPLES / "layers_10.json", EXAMPLES / "profile.json"
    found = explain(*files, model=tmp_path / "net.onnx")
    notes = {row.modules: row.note for row in found.rows}
    assert notes["layer1.0.conv2",] == "no Q/DQ on it"
    assert notes["fc",] == "its input is float"  # the file does not have it


def test_a_file_of_another_network_is_noticed(tmp_path: Path) -> None:
    nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))
    found = explain(
        EXAMPLES / "layers_10.json", EXAMPLES / "profile.json", model=tmp_path / "net.onnx"
    )
    assert any("names no node of the ONNX file" in note for note in found.notes)


@pytest.mark.parametrize("schema", [10, 11])
def test_the_example_has_the_same_answer_in_both_schemas(schema: int) -> None:
    found = explain(EXAMPLES / f"layers_{schema}.json", EXAMPLES / "profile.json")
    assert found.total_ms == pytest.approx(0.7023)
    assert [cause.kind for cause in found.causes] == ["reformat", "float", "fusion"]
    assert [round(cause.share, 3) for cause in found.causes] == [0.331, 0.223, 0.093]
    assert found.rows[0].modules == ("layer1.0.conv2",)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=8))
def test_shares_add_up_to_one(tmp_path_factory: Any, times: list[float]) -> None:
    names = [f"l{index}" for index in range(len(times))]
    layers = [conv(name, "Int8" if index % 2 else "Half") for index, name in enumerate(names)]
    found = answer(tmp_path_factory.getbasetemp(), layers, dict(zip(names, times, strict=True)))
    assert sum(row.share for row in found.rows) == pytest.approx(1)
    assert 0 <= found.int8_share <= 1
    assert [row.ms for row in found.rows] == sorted(times, reverse=True)
