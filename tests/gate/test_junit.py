from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from edgekd.core import checking, run_folder, specs
from edgekd.core.records import State, Verdict
from edgekd.gate import rules
from edgekd.gate.junit import junit
from tests import builders


@pytest.fixture
def verdict(tmp_path: Path) -> Verdict:
    run = run_folder.read(builders.make_run(tmp_path))
    gate = checking.checked(specs.Gate, {"top1_drop_pp": {"margin": 2}}, "gate")
    return rules.judge(gate, run)


def case_of(verdict: Verdict, state: State, *, informative: bool = False) -> ET.Element:
    changes = {"state": state, "informative": informative, "message": 'drop < 2 & "more"'}
    finding = verdict.findings[0].model_copy(update=changes)
    suite = ET.fromstring(junit(verdict.model_copy(update={"findings": (finding,)})))
    (case,) = suite
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    expected = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    ends = [expected[child.tag] for child in case if child.tag in expected]
    assert counts == {name: str(int(name in (*ends, "tests"))) for name in counts}
    return case


def test_each_finding_is_a_case_named_after_rule_and_artifact(verdict: Verdict) -> None:
    cases = [(case.get("classname"), case.get("name")) for case in ET.fromstring(junit(verdict))]
    assert cases == [
        ("edgekd.gate.top1_drop_pp", "onnx-fp32"),
        ("edgekd.gate.top1_drop_pp", "onnx-int8"),
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
    verdict: Verdict, state: State, *, informative: bool, tag: str
) -> None:
    case = case_of(verdict, state, informative=informative)
    assert [child.tag for child in case] == [tag]


def test_message_survives_the_markup(verdict: Verdict) -> None:
    (failure,) = case_of(verdict, "failed")
    assert failure.get("message") == 'drop < 2 & "more"'
