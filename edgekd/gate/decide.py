"""From an interval and a limit to a finding, and from all findings to the verdict."""

from collections.abc import Mapping, Sequence

from edgekd.core import rules, statistics
from edgekd.core.findings import together
from edgekd.core.records import Finding, Interval, State
from edgekd.gate import text


def finding(
    key: str,
    rule: rules.Rule,
    artifact: str,
    measured: Interval | None,
    limit: float,
    state: State,
    detail: str,
    doubt: str = "",
    p_value: float | None = None,
    doubts: tuple[str, ...] = (),
) -> Finding:
    """Return what a rule found about an artifact.

    Args:
        key: the rule's name.
        rule: the rule.
        artifact: that it judged.
        measured: in the rule's unit; None: not known.
        limit: likewise.
        state: what they come to.
        detail: for people, what the numbers come from.
        doubt: why it is not decided, and what would; empty: it is.
        p_value: how often a model at the limit looks at least as bad; None: it is exact.
        doubts: why the measurement itself is not believed.
    """
    look = text.LOOKS[key]
    return Finding(
        rule=key,
        artifact=artifact,
        measured=measured,
        limit=limit,
        bound="at least" if look.at_least else "at most",
        unit=look.unit,
        state=state,
        informative=rule.informative,
        p_value=p_value,
        message=text.line(look, measured, limit, state, detail, doubt or together(doubts)),
        doubts=doubts,
    )


def exactly(value: float) -> Interval:
    """Return the interval of a value that has no error."""
    return Interval(value=value, low=value, high=value, confidence=1.0)


def side(interval: Interval, limit: float) -> State:
    """Say on which side of the limit the whole interval lies; "inconclusive" if on neither."""
    if interval.high <= limit:
        return "passed"
    return "failed" if interval.low > limit else "inconclusive"


def side_above(interval: Interval, least: float) -> State:
    """Likewise, where more is better."""
    if interval.low >= least:
        return "passed"
    return "failed" if interval.high < least else "inconclusive"


def overall(states: Sequence[State]) -> State:
    """Return "passed" only if every one is; a failure outweighs whatever is inconclusive."""
    assert states, "judge() refuses gates without rules, and rules without artifacts"
    if "failed" in states:
        return "failed"
    return "inconclusive" if "inconclusive" in states else "passed"


def corrected(findings: Sequence[Finding], errors: Mapping[str, float]) -> list[Finding]:
    """Take back failures that one of so many rules may show by chance alone, by Holm's method.

    A gate with many rules would otherwise fail good models more often, the more rules it has.
    Passes stay: a gate asks for all of its rules, so more of them make a lucky pass rarer still.
    So does what is exact, and what is informative.

    Args:
        findings: of all rules.
        errors: for each rule, how often it may fail a model that lies at its limit.
    """
    tested = [f for f in findings if f.p_value is not None and not f.informative]
    adjusted = statistics.holm([f.p_value for f in tested if f.p_value is not None])
    doubtful = {
        id(found): p_value
        for found, p_value in zip(tested, adjusted, strict=True)
        if found.state == "failed" and p_value > errors[found.rule]
    }
    return [
        _taken_back(found, doubtful[id(found)], len(tested)) if id(found) in doubtful else found
        for found in findings
    ]


def _taken_back(found: Finding, p_value: float, tests: int) -> Finding:
    doubt = (
        f"one of {tests} such comparisons may look as bad by chance "
        f"(p = {found.p_value:.2g}, by Holm's method {p_value:.2g}): measure more"
    )
    update = {"state": "inconclusive", "message": f"{found.message}: {doubt}"}
    return found.model_copy(update=update)
