from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema
from hypothesis import given

from edgekd.core import run_folder, specs
from edgekd.core.records import State, Verdict
from edgekd.gate import rules
from edgekd.gate.junit import junit
from tests import builders
from tests.gate.verdicts import FAILED, TEXTS, finding, verdict

SCHEMA = Path(__file__).parent / "schemas" / "junit-10.xsd"
ENDS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


@pytest.fixture(scope="module")
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(SCHEMA)


def suite_of(judged: Verdict) -> ET.Element:
    return ET.fromstring(junit(judged).encode())


def test_each_finding_is_a_case_with_a_name_of_its_own() -> None:
    names = [("top1_drop_pp", "onnx-fp32"), ("top1_drop_pp", "onnx-int8"), ("lint", "onnx-int8")]
    judged = verdict(*(finding(rule=rule, artifact=artifact) for rule, artifact in names))
    cases = [(case.get("classname"), case.get("name")) for case in suite_of(judged)]
    assert cases == [
        ("edgekd.gate", "top1_drop_pp onnx-fp32"),
        ("edgekd.gate", "top1_drop_pp onnx-int8"),
        ("edgekd.gate", "lint onnx-int8"),
    ]


@pytest.mark.parametrize(
    ("state", "informative", "tag"),
    [
        ("passed", False, "system-out"),
        ("failed", False, "failure"),
        ("inconclusive", False, "error"),
        ("failed", True, "skipped"),
        ("inconclusive", True, "skipped"),
    ],
)
def test_only_what_passed_counts_as_passed_and_only_what_decides_breaks(
    schema: xmlschema.XMLSchema, state: State, *, informative: bool, tag: str
) -> None:
    judged = verdict(finding(state, informative=informative))
    schema.validate(junit(judged))
    suite = suite_of(judged)
    (case,) = suite
    assert [child.tag for child in case] == [tag]
    counts = {name: suite.get(name) for name in ("tests", *ENDS.values())}
    assert counts == {name: str(int(name in ("tests", ENDS.get(tag)))) for name in counts}


def test_the_message_stands_where_jenkins_and_where_gitlab_look() -> None:
    ((failure,),) = suite_of(verdict(finding()))
    assert failure.get("message") == failure.text == FAILED


def test_the_schema_refuses_what_is_not_junit(schema: xmlschema.XMLSchema) -> None:
    text = junit(verdict(finding()))
    assert not schema.is_valid(text.replace(' errors="0"', ""))
    assert not schema.is_valid(text.replace("testcase", "case"))


def test_a_runs_verdict_is_junit(schema: xmlschema.XMLSchema, tmp_path: Path) -> None:
    run = run_folder.read(builders.make_run(tmp_path))
    judged = rules.judge(specs.gate_of(tmp_path / "recipe.json"), run)
    schema.validate(junit(judged))
    assert len(suite_of(judged)) == 2


@given(message=TEXTS, artifact=TEXTS)
def test_any_text_gives_xml_that_says_it_on_one_line(message: str, artifact: str) -> None:
    judged = verdict(finding(message=message, artifact=artifact))
    ((failure,),) = suite_of(judged)
    assert len((failure.text or "").splitlines()) <= 1
    assert (failure.text or "") == failure.get("message")
