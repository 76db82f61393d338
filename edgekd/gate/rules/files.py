"""Rules about the files themselves, all exact: size, parity with the checkpoint, lint."""

from collections.abc import Iterator

from edgekd.core import rules
from edgekd.core.errors import UsageError
from edgekd.core.records import Finding
from edgekd.core.run_folder import REFERENCE
from edgekd.gate.decide import exactly, finding, side
from edgekd.gate.evidence import Evidence
from edgekd.gate.text import mib

_MIB = 2**20


def size_ratio(rule: rules.LimitRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the bytes over the teacher's, external weight files included."""
    key = "size_ratio"
    reference = evidence.artifact(REFERENCE, key).bytes
    for name in evidence.names(key, rule.artifacts):
        yield _ratio(key, rule, name, reference, evidence.artifact(name, key).bytes)


def size_baseline_ratio(rule: rules.LimitRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the bytes over the baseline's."""
    key = "size_baseline_ratio"
    for name in evidence.names(key, rule.artifacts):
        then = evidence.entry(name, key).bytes
        yield _ratio(key, rule, name, then, evidence.artifact(name, key).bytes)


def size(rule: rules.LimitRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the size."""
    key = "size_mib"
    for name in evidence.names(key, rule.artifacts):
        found = exactly(evidence.artifact(name, key).bytes / _MIB)
        yield finding(key, rule, name, found, rule.limit, side(found, rule.limit), name)


def parity(rule: rules.LimitRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge how far a logit of the file lies from the checkpoint's at most, on real images."""
    key = "parity_sd"
    for name in evidence.names(key, rule.artifacts):
        artifact = evidence.artifact(name, key)
        found = exactly(artifact.parity.relative_error)
        state, doubt = side(found, rule.limit), ""
        if state == "passed" and not artifact.accuracy_valid:
            state, doubt = "inconclusive", "it was compared on random data: take real images"
        detail = f"{artifact.parity.images} images, {name}"
        yield finding(key, rule, name, found, rule.limit, state, detail, doubt)


def lint(rule: rules.LintRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge what the linter finds in the file."""
    key = "lint"
    if evidence.lint is None:
        raise UsageError("rule lint needs the linter, and judge() was given none")
    for name in evidence.names(key, rule.artifacts):
        artifact = evidence.artifact(name, key)
        errors, warnings = evidence.lint(evidence.file(name), artifact)
        for what, count, limit in (
            ("errors", errors, rule.errors),
            ("warnings", warnings, rule.warnings),
        ):
            if limit is not None:
                found = exactly(count)
                state = side(found, limit)
                names = f", see `edgekd lint {evidence.file(name)}`" if state == "failed" else ""
                detail = f"{what}, {name}{names}"
                yield finding(key, rule, name, found, limit, state, detail)


def _ratio(key: str, rule: rules.LimitRule, name: str, then: int, now: int) -> Finding:
    found = exactly(now / then)
    detail = f"{mib(then)} -> {mib(now)}, {name}"
    return finding(key, rule, name, found, rule.limit, side(found, rule.limit), detail)
