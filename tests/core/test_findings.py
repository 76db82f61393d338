from edgekd.core import findings
from edgekd.core.records import Finding

SAID = "latency 0.4 times the teacher's, limit 0.5 (ms, onnx-int8)"


def finding(message: str, *doubts: str) -> Finding:
    return Finding(
        rule="latency_ratio", artifact="onnx-int8", measured=None, limit=0.5, unit="ratio",
        state="inconclusive", informative=False, message=message, doubts=doubts,
    )  # fmt: skip


def test_a_message_without_doubts_is_told_as_it_is() -> None:
    assert findings.message(finding(SAID)) == SAID


def test_a_message_says_that_its_measurement_is_in_doubt_but_not_why() -> None:
    doubted = finding(f"{SAID}: others took 40 %; it drifted", "others took\n40 %", "it drifted")
    assert findings.message(doubted) == f"{SAID}: its measurement is in doubt"


def test_what_several_findings_doubt_is_told_once_in_its_order() -> None:
    both = finding(f"{SAID}: noisy; warm", "noisy", "warm")
    messages, doubts = findings.told_once([both, finding(SAID), finding(f"{SAID}: warm", "warm")])
    assert doubts == ["noisy", "warm"]
    assert messages == [f"{SAID}: its measurement is in doubt", SAID, messages[0]]
