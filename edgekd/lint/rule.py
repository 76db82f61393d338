"""What a rule is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from edgekd.lint.model import Graph, Version, name_of

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Hit:
    """A place where a rule is broken."""

    message: str
    node: str = ""
    tensor: str = ""
    severity: Severity | None = None  # None: the rule's


@dataclass(frozen=True)
class Finding:
    """A hit, with the rule and the versions of TensorRT that it holds for."""

    rule: str
    severity: Severity
    message: str
    node: str
    tensor: str
    trt: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """One thing to check.

    Error: TensorRT refuses the model, or computes something else. Warning: slow or risky.
    """

    id: str
    title: str  # what holds in a good model
    severity: Severity
    why: str
    source: str
    fix: str
    check: Callable[[Graph], Iterator[Hit]]
    later: tuple[Version, Severity] | None = None  # from this version on, another severity

    def severity_at(self, version: Version) -> Severity:
        """Return the severity for a version of TensorRT."""
        return self.later[1] if self.later and version >= self.later[0] else self.severity


def rule(
    identity: str,
    title: str,
    severity: Severity,
    *,
    why: str,
    source: str,
    fix: str,
    later: tuple[Version, Severity] | None = None,
) -> Callable[[Callable[[Graph], Iterator[Hit]]], Rule]:
    """Make a rule of the function that yields its hits."""
    return lambda check: Rule(identity, title, severity, why, source, fix, check, later)


def at(node: NodeProto, message: str, severity: Severity | None = None, tensor: str = "") -> Hit:
    """Return a hit at a node."""
    return Hit(message, name_of(node), tensor, severity)


def text_of(version: Version) -> str:
    """Return "10.3" for (10, 3)."""
    return f"{version[0]}.{version[1]}"
