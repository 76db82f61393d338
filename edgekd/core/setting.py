"""Override single values of a recipe: ``--set stages.0.epochs=20``."""

import tomllib
from typing import Any

from edgekd.core.errors import UsageError


def apply(tree: dict[str, Any], text: str) -> None:
    """Set one value of a tree, in place.

    Args:
        tree: tables and arrays, as TOML gives them; tables that are missing are made.
        text: KEY=VALUE. The key's steps are joined by dots, numbers count in arrays; the value is
            TOML's, and what is none, such as a path, is a string.

    Raises:
        UsageError: another form, or a place that is not there.
    """
    key, equals, raw = text.partition("=")
    steps = key.split(".")
    if not equals or not all(steps):
        raise UsageError(f"--set takes KEY=VALUE, as in stages.0.epochs=20, but is '{text}'")
    node: Any = tree
    for step in steps[:-1]:
        node = _child(node, step, text)
    if isinstance(node, list):
        node[_index(node, steps[-1], text)] = _value(raw)
    elif isinstance(node, dict):
        node[steps[-1]] = _value(raw)
    else:
        raise UsageError(f"--set {text}: '{steps[-2]}' has no parts")


def _child(node: Any, step: str, text: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, step, text)]
    if isinstance(node, dict):
        return node.setdefault(step, {})
    raise UsageError(f"--set {text}: '{step}' lies below a plain value")


def _index(node: list[Any], step: str, text: str) -> int:
    if not step.isdecimal() or int(step) >= len(node):
        raise UsageError(f"--set {text}: expected a number below {len(node)}, found '{step}'")
    return int(step)


def _value(raw: str) -> Any:
    """Read a TOML value; what is none, such as a path, is a string."""
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    return parsed["value"] if len(parsed) == 1 else raw  # more than one: a text of several lines
