"""Judge a model by every rule, for one version of TensorRT or several."""

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from edgekd.core.errors import UsageError
from edgekd.lint import operators, rules
from edgekd.lint.model import Graph, Version
from edgekd.lint.rule import SEVERITIES, Finding, Rule, Severity, text_of

OLDEST, NEWEST = (8, 5), (11, 4)
# Those of JetPack 5, 6.0, 6.1 and 7.0, and the newest.
USUAL: tuple[Version, ...] = ((8, 5), (8, 6), (10, 3), (10, 13), (11, 4))


@dataclass(frozen=True)
class Result:
    """What was found, worst first, and what to know about the finding."""

    findings: tuple[Finding, ...]
    versions: tuple[str, ...]
    notes: tuple[str, ...]

    def count(self, severity: Severity) -> int:
        """Return how many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)


def parse(text: str) -> Version:
    """Read a version such as "10.3" or "10.3.0".

    Raises:
        UsageError: it is none, or not one that the rules speak of.
    """
    parts = text.split(".")
    if len(parts) not in {2, 3, 4} or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"'{text}' is not a version of TensorRT: write it as in 10.3")
    version = (int(parts[0]), int(parts[1]))
    if not OLDEST <= version <= NEWEST:
        raise UsageError(
            f"the rules do not cover TensorRT {text}: "
            f"choose one from {text_of(OLDEST)} to {text_of(NEWEST)}"
        )
    return version


@cache
def every_rule() -> tuple[Rule, ...]:
    """Return the rules of every file in ``edgekd/lint/rules``, by identity."""
    found = [
        value
        for module in pkgutil.iter_modules(rules.__path__, f"{rules.__name__}.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, Rule)
    ]
    return tuple(sorted(found, key=lambda rule: rule.id))


def lint(graph: Graph, versions: Sequence[Version] = USUAL) -> Result:
    """Judge a graph for each version; equal findings of several versions become one."""
    found: dict[tuple[str, Severity, str, str, str], list[str]] = {}
    for version in versions:
        judged = graph.at(version)
        for rule in every_rule():
            for hit in rule.check(judged):
                severity = hit.severity or rule.severity_at(version)
                key = (rule.id, severity, hit.message, hit.node, hit.tensor)
                seen = found.setdefault(key, [])
                if text_of(version) not in seen:
                    seen.append(text_of(version))
    findings = [Finding(*key, tuple(trt)) for key, trt in found.items()]
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), finding.rule))
    borrowed: dict[str, list[str]] = {}
    for version in versions:
        table = operators.table_for(version)
        if table != version:
            borrowed.setdefault(text_of(table), []).append(text_of(version))
    notes = [
        f"operators for TensorRT {', '.join(names)}: judged by the table of {table}, "
        "the nearest at hand"
        for table, names in borrowed.items()
    ]
    return Result(tuple(findings), tuple(text_of(version) for version in versions), tuple(notes))
