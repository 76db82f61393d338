"""A verdict as JUnit XML, which every CI service shows beside the tests."""

from xml.etree import ElementTree as ET

from edgekd.core.records import Finding, Verdict


def junit(verdict: Verdict) -> str:
    """Return a test suite with a case for each finding.

    What is inconclusive is an error, so that no service counts it as passed; an informative finding
    that is not passed is skipped, for it does not decide.
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
        case = ET.SubElement(
            suite, "testcase", classname=f"edgekd.gate.{finding.rule}", name=finding.artifact
        )
        if kind:
            ET.SubElement(case, kind, message=finding.message, type=finding.state)
        else:
            ET.SubElement(case, "system-out").text = finding.message
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode") + "\n"


def _kind(finding: Finding) -> str:
    """Return the element that says how a case ended; empty: passed."""
    if finding.state == "passed":
        return ""
    if finding.informative:
        return "skipped"
    return "failure" if finding.state == "failed" else "error"
