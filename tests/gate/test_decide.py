from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import specs
from edgekd.core.records import Finding, State
from edgekd.gate import decide
from edgekd.gate.rules import RULES
from edgekd.gate.text import LOOKS

ERRORS = {"latency_ratio": 0.05}


def finding(p_value: float | None, state: State = "failed", **changes: Any) -> Finding:
    made = Finding(
        rule="latency_ratio",
        artifact="onnx-int8",
        measured=decide.exactly(1.1),
        limit=1.0,
        unit="ratio",
        state=state,
        informative=False,
        p_value=p_value,
        message="slow",
    )
    return made.model_copy(update=changes)


def states(findings: list[Finding]) -> list[State]:
    return [found.state for found in decide.corrected(findings, ERRORS)]


def test_a_failure_alone_needs_no_correction() -> None:
    assert states([finding(0.04)]) == ["failed"]


def test_one_of_three_failures_is_taken_back_by_holms_method() -> None:
    # Adjusted: 3 * 0.001, 2 * 0.02, 1 * 0.06 at 0.05.
    found = decide.corrected([finding(0.06), finding(0.001), finding(0.02)], ERRORS)
    assert [one.state for one in found] == ["inconclusive", "failed", "failed"]


def test_a_failure_among_many_passes_is_taken_back_and_says_why() -> None:
    found = decide.corrected([finding(0.02), *[finding(0.9, "passed")] * 3], ERRORS)
    assert found[0].state == "inconclusive"
    assert found[0].message == (
        "slow: one of 4 such comparisons may look as bad by chance "
        "(p = 0.02, by Holm's method 0.08): measure more"
    )
    assert [one.state for one in found[1:]] == ["passed"] * 3


def test_what_is_exact_or_informative_is_no_comparison() -> None:
    others = [finding(None), finding(None), finding(0.5, "passed", informative=True)]
    assert states([finding(0.04), *others]) == ["failed", "failed", "failed", "passed"]


def test_an_informative_failure_stays_as_it_is() -> None:
    assert states([finding(0.04, informative=True), finding(0.9, "passed")])[0] == "failed"


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["passed", "failed", "inconclusive"]))))
def test_correction_never_makes_a_pass_or_a_failure(pairs: list[tuple[float, State]]) -> None:
    findings = [finding(p_value, state) for p_value, state in pairs]
    for before, after in zip(findings, decide.corrected(findings, ERRORS), strict=True):
        assert after.state in {before.state, "inconclusive"}
        assert before.state == "failed" or after == before


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [(90, 95, "passed"), (89, 95, "inconclusive"), (80, 90, "inconclusive"), (80, 89, "failed")],
)
def test_more_is_better_where_a_least_is_asked_for(low: float, high: float, state: State) -> None:
    interval = decide.exactly(90).model_copy(update={"low": low, "high": high})
    assert decide.side_above(interval, 90) == state


def test_every_rule_of_the_recipe_is_judged_and_shown() -> None:
    assert list(RULES) == list(LOOKS) == list(specs.Gate.model_fields)
