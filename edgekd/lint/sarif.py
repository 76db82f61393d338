"""Findings as SARIF 2.1.0, which code hosts and editors show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgekd import __version__
from edgekd.lint.rule import Finding, Severity
from edgekd.lint.run import Result, every_rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def sarif(judged: Sequence[tuple[Result, Path]], unread: Sequence[str] = ()) -> dict[str, Any]:
    """Return the log of one run over files, as a tree for JSON; ``unread``: why others failed."""
    rules = every_rule()
    index = {rule.id: position for position, rule in enumerate(rules)}
    driver = {
        "name": "edgekd lint",
        "semanticVersion": __version__,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.why},
                "help": {"text": f"{rule.fix} Source: {rule.source}."},
                "defaultConfiguration": {"level": LEVELS[rule.severity]},
            }
            for rule in rules
        ],
    }
    told = dict.fromkeys(note for result, _ in judged for note in result.notes)
    notes = [{"level": "note", "message": {"text": note}} for note in told]
    notes += [{"level": "error", "message": {"text": why}} for why in unread]
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not unread, "toolExecutionNotifications": notes}],
        "results": [
            _result(finding, index[finding.rule], path)
            for result, path in judged
            for finding in result.findings
        ],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding, index: int, path: Path) -> dict[str, Any]:
    uri = quote(path.as_posix())
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": f"file://{uri}" if path.is_absolute() else uri}
        }
    }
    if name := finding.node or finding.tensor:
        place["logicalLocations"] = [{"name": name, "fullyQualifiedName": name}]
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": f"{finding.message} (TensorRT {', '.join(finding.trt)})"},
        "locations": [place],
        "properties": {"trt": list(finding.trt), "tensor": finding.tensor},
    }
