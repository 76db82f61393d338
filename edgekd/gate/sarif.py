"""A verdict as SARIF 2.1.0, which code hosts show at the line of the rule."""

import json
from typing import Any

from edgekd import __version__
from edgekd.core.characters import one_line
from edgekd.core.records import Finding, Verdict
from edgekd.gate.place import Place
from edgekd.gate.text import LOOKS

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(verdict: Verdict, place: Place) -> str:
    """Return the log of one run, with a result for each finding that is not passed.

    Code hosts show every result as an alert, whatever its ``kind``, so what passed is no result: it
    stands among the rules alone. ``state`` among a result's properties tells failures, which are
    errors, from what is inconclusive, which is a warning; what does not decide is a note.

    Args:
        verdict: the outcome of all rules.
        place: where these rules are written.
    """
    rules = list(dict.fromkeys(finding.rule for finding in verdict.findings))
    results = [
        _result(finding, rules.index(finding.rule), place)
        for finding in verdict.findings
        if finding.state != "passed"
    ]
    run = {
        "tool": {
            "driver": {
                "name": "edgekd gate",
                "semanticVersion": __version__,
                "rules": [_rule(name) for name in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "endTimeUtc": verdict.provenance.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ],
        "properties": {"state": verdict.state},
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(name: str) -> dict[str, Any]:
    what = LOOKS[name].what
    return {
        "id": name,
        "shortDescription": {"text": f"{what[0].upper()}{what[1:]} within its limit"},
        "fullDescription": {"text": f"The gate's limit for: {what}."},
        "help": {"text": "What is measured, and when it fails: docs/gate.md of edgekd."},
    }


def _result(finding: Finding, index: int, place: Place) -> dict[str, Any]:
    level = "error" if finding.state == "failed" else "warning"
    artifact = one_line(finding.artifact)
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": "note" if finding.informative else level,
        "message": {"text": one_line(finding.message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": place.uri()},
                    "region": {"startLine": place.line(finding.rule)},
                },
                "logicalLocations": [{"name": artifact, "fullyQualifiedName": artifact}],
            }
        ],
        # The same alert in the next run, though the rule has moved to another line.
        "partialFingerprints": {"ruleAndArtifact/v1": f"{finding.rule}/{artifact}"},
        "properties": {"state": finding.state},
    }
