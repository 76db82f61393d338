"""SARIF as its standard wants it."""

import json
from pathlib import Path

import jsonschema
import numpy as np

from edgekd.lint import run, sarif
from edgekd.lint.model import Graph
from tests.lint.graphs import sound

SCHEMA = Path(__file__).parents[1] / "gate" / "schemas" / "sarif-2.1.0-rtm.5.json"


def log(path: Path = Path("a b/model.onnx")) -> dict:
    net = sound().put("c1.x.zero", 0, np.uint8)
    result = run.lint(Graph(net.model()), [(10, 3), (10, 13)])
    return json.loads(json.dumps(sarif.sarif([(result, path)])))


def test_each_result_points_to_its_rule() -> None:
    found = log()["runs"][0]
    rules = found["tool"]["driver"]["rules"]
    assert found["results"]
    for result in found["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_levels_are_those_of_sarif() -> None:
    levels = [result["level"] for result in log()["runs"][0]["results"]]
    assert set(levels) == {"error", "warning", "note"}


def test_a_result_names_file_node_and_versions() -> None:
    first = log()["runs"][0]["results"][0]
    place = first["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/model.onnx"
    assert place["logicalLocations"][0]["name"] == "c1.x.q"
    assert first["message"]["text"].endswith("(TensorRT 10.3)")


def test_an_absolute_path_is_a_file_uri() -> None:
    first = log(Path("/models/model.onnx"))["runs"][0]["results"][0]
    uri = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "file:///models/model.onnx"


def test_the_log_says_its_version_and_which_table_was_used() -> None:
    tree = log()
    assert tree["version"] == "2.1.0"
    notes = tree["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert "10.1" in notes[0]["message"]["text"]


def test_the_log_is_sarif() -> None:
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(log())


def test_several_files_make_one_run_that_says_each_note_once() -> None:
    result = run.lint(Graph(sound().put("c1.x.zero", 0, np.uint8).model()), [(10, 3)])
    files = [Path("a.onnx"), Path("b.onnx")]
    (only,) = sarif.sarif([(result, file) for file in files])["runs"]
    places = [
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for one in only["results"]
    ]
    assert places == ["a.onnx"] * len(result.findings) + ["b.onnx"] * len(result.findings)
    notes = only["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == list(result.notes)
