import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from edgekd.core.records import State, Verdict
from edgekd.gate.place import Place
from edgekd.gate.sarif import sarif
from tests.gate.verdicts import FAILED, TEXTS, finding, verdict

SCHEMA = Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json"
VALIDATOR = jsonschema.Draft4Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
PLACE = Place("ci/release rules.toml", ("[gate]", "lint = {}", "top1_drop_pp = { margin = 2 }"))


def log(judged: Verdict) -> dict[str, Any]:
    tree = json.loads(sarif(judged, PLACE).encode())
    VALIDATOR.validate(tree)
    return tree["runs"][0]


def test_a_result_points_at_its_rule_and_names_the_artifact() -> None:
    run = log(verdict(finding("passed", rule="lint"), finding()))
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["ruleId"] == "top1_drop_pp"
    assert result["message"]["text"] == FAILED
    (place,) = result["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "ci/release%20rules.toml"},
        "region": {"startLine": 3},
    }
    assert place["logicalLocations"][0]["name"] == "onnx-int8"


@pytest.mark.parametrize(
    ("state", "informative", "levels"),
    [
        ("passed", False, []),
        ("failed", False, ["error"]),
        ("inconclusive", False, ["warning"]),
        ("failed", True, ["note"]),
    ],
)
def test_levels_tell_what_decides(state: State, levels: list[str], *, informative: bool) -> None:
    results = log(verdict(finding(state, informative=informative)))["results"]
    assert [result["level"] for result in results] == levels


def test_the_fingerprint_is_the_same_when_the_numbers_are_not() -> None:
    first, other = (log(verdict(finding(message=text)))["results"][0] for text in ("a", "b"))
    assert first["partialFingerprints"] == other["partialFingerprints"]
    third = log(verdict(finding(artifact="onnx-fp32")))["results"][0]
    assert third["partialFingerprints"] != first["partialFingerprints"]


def test_the_schema_refuses_what_is_not_sarif() -> None:
    tree = json.loads(sarif(verdict(finding()), PLACE))
    tree["runs"][0]["results"][0]["level"] = "fatal"
    assert not VALIDATOR.is_valid(tree)


@given(message=TEXTS, artifact=TEXTS)
def test_any_text_gives_json_of_whole_characters(message: str, artifact: str) -> None:
    tree = json.loads(sarif(verdict(finding(message=message, artifact=artifact)), PLACE))
    (result,) = tree["runs"][0]["results"]
    said = result["message"]["text"] + result["partialFingerprints"]["ruleAndArtifact/v1"]
    assert len(said.encode().splitlines()) == 1
