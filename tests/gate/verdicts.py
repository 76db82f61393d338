"""Findings and verdicts made by hand, and any text that could stand in them."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from edgekd.core.records import Finding, Interval, Provenance, State, Verdict

# Whatever Python can hold, halves of surrogate pairs too, and what closes something somewhere.
TEXTS = st.text(st.characters(exclude_categories=())) | st.lists(
    st.sampled_from(["]]>", "\n", "\r\n::error::x", "%0A", "::", ",", "\x00", "\x1b[31m", "😀",
                     "<b>", "&", '"', "|", "\u2028", "\ufffe", "\ud800", " ", "é"])
).map("".join)  # fmt: skip
FAILED = "top-1 drop 3.4 pp [2.4..], margin 2.0 pp (95.0 % -> 91.6 %, onnx-int8)"


def finding(state: State = "failed", **changes: Any) -> Finding:
    made = Finding(
        rule="top1_drop_pp",
        artifact="onnx-int8",
        measured=Interval(value=3.4, low=2.4, high=4.6, confidence=0.95),
        limit=2.0,
        unit="pp",
        state=state,
        informative=False,
        message=FAILED,
    )
    return made.model_copy(update=changes)


def verdict(*findings: Finding, state: State = "failed") -> Verdict:
    made_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    provenance = Provenance(
        made_at=made_at, command=("edgekd", "gate"), versions={}, machine="Test processor"
    )
    return Verdict(provenance=provenance, findings=findings, state=state)
