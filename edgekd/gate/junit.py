"""A verdict as JUnit XML, which every CI service shows beside the tests."""

from xml.etree import ElementTree as ET

from edgekd.core.characters import one_line
from edgekd.core.records import Finding, Verdict


def junit(verdict: Verdict) -> str:
    """Return a test suite with a case for each finding.

    What is inconclusive is an error, so that no service counts it as passed; an informative finding
    that is not passed is skipped, for it does not decide. Rule and artifact together are a case's
    name, for GitLab keeps one case of a name; the message is attribute and text, for GitLab reads
    the text and Jenkins the attribute.
    """
    kinds = [_kind(finding) for finding in verdict.findings]
    suite = ET.Element(
        "testsuite",
        name="edgekd gate",
        tests=str(len(kinds)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        timestamp=verdict.provenance.made_at.isoformat(timespec="seconds"),
    )
    for finding, kind in zip(verdict.findings, kinds, strict=True):
        name = one_line(f"{finding.rule} {finding.artifact}")
        case = ET.SubElement(suite, "testcase", classname="edgekd.gate", name=name)
        message = one_line(finding.message)
        if kind:
            ET.SubElement(case, kind, message=message, type=finding.state).text = message
        else:
            ET.SubElement(case, "system-out").text = message
    ET.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _kind(finding: Finding) -> str:
    """Return the element that says how a case ended; empty: passed."""
    if finding.state == "passed":
        return ""
    if finding.informative:
        return "skipped"
    return "failure" if finding.state == "failed" else "error"
