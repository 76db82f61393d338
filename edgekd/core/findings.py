"""What a gate found, for people: a doubt about a measurement is told once, not by each rule."""

from collections.abc import Sequence

from edgekd.core.characters import one_line
from edgekd.core.records import Finding


def together(doubts: Sequence[str]) -> str:
    """Return why a measurement is not believed, as it ends a finding's message."""
    return one_line("; ".join(doubts))


def told_once(findings: Sequence[Finding]) -> tuple[list[str], list[str]]:
    """Return each message without the doubts about its measurement, and each of these once."""
    doubts = dict.fromkeys(doubt for finding in findings for doubt in finding.doubts)
    return [message(finding) for finding in findings], list(doubts)


def message(finding: Finding) -> str:
    """Return a finding's message, which only says that its measurement is in doubt, not why."""
    if not finding.doubts:
        return finding.message
    return f"{finding.message.removesuffix(together(finding.doubts))}its measurement is in doubt"
