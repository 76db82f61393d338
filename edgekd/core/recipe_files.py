"""Recipes as they are written: a tree of values, not checked yet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.core import catalogue, setting

_SOURCES_WITH_PATHS = ("cifar10", "cifar100", "folder", "pack")


def tree(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a recipe without checking it, and apply overrides.

    Raises:
        UsageError: unknown recipe, or an override that cannot be applied.
    """
    found = catalogue.read("recipes", name)
    if name.endswith(".toml"):
        _anchor_paths(found, Path(name).parent)
    for override in overrides:
        setting.apply(found, override)
    return found


def _anchor_paths(tree: dict[str, Any], folder: Path) -> None:
    """Make the paths of weights and images relative to the recipe's folder."""
    for part in ("teacher", "student"):
        section = tree.get(part)
        if isinstance(section, dict) and isinstance(section.get("weights"), str):
            section["weights"] = str(folder / section["weights"])
    data = tree.get("data")
    if isinstance(data, dict) and isinstance(data.get("source"), str):
        kind, colon, place = data["source"].partition(":")
        if colon and kind in _SOURCES_WITH_PATHS:
            data["source"] = f"{kind}:{folder / place}"
