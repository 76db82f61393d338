"""``edgekd list``: what is built in. Reads folders and docstrings, imports nothing heavy."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from edgekd.cli import console
from edgekd.cli.options import Json
from edgekd.core import catalogue, plugins

NAME = "list"


class What(StrEnum):
    """What can be listed."""

    methods = "methods"
    criteria = "criteria"
    calibrators = "calibrators"
    recipes = "recipes"
    targets = "targets"
    devices = "devices"
    platforms = "platforms"
    sources = "sources"
    models = "models"


_PLUGINS = {
    What.methods: plugins.METHODS,
    What.criteria: plugins.CRITERIA,
    What.calibrators: plugins.CALIBRATORS,
}
_FILES: dict[What, catalogue.Kind] = {
    What.recipes: "recipes",
    What.targets: "export",
    What.devices: "profiles",
    What.platforms: "profiles/platforms",
}
_CHECKPOINT = {"FOLDER": "a checkpoint that edgekd wrote"}


def command(
    what: Annotated[What, typer.Argument(metavar="WHAT", help="What to list.")],
    json: Json = False,
) -> None:
    """List what is built in.

    Examples:
        edgekd list methods
        edgekd list recipes --json
    """
    rows = _rows(what)
    if json:
        console.result(rows)
    else:
        console.table(rows)


def _rows(what: What) -> list[dict[str, str]]:
    if what in _PLUGINS:
        return _plugins(_PLUGINS[what])
    if what in _FILES:
        kind = _FILES[what]
        return [_file(name, catalogue.read(kind, name)) for name in catalogue.names(kind)]
    if what is What.sources:
        return _pairs(plugins.literal("edgekd.data.sources", "SOURCES"))
    families = plugins.summaries("edgekd.models.zoo")
    zoo = {name: found.line for found in families for name in found.constants["NAMES"].split()}
    return _pairs(zoo | _CHECKPOINT)


def _file(name: str, values: dict[str, Any]) -> dict[str, str]:
    """Return a row; of a board its power modes, too, which estimates are made for."""
    summary = str(values.get("description", ""))
    modes = [mode["name"] for mode in values.get("board", {}).get("modes", ())]
    if modes:
        summary += f"; power modes {', '.join(modes)}"
    return {"name": name, "summary": summary}


def _plugins(package: str) -> list[dict[str, str]]:
    """Return a row each; the column "also" is there if any of them has further names."""
    also = bool(plugins.aliases(package))
    rows = []
    for found in plugins.summaries(package):
        row = {"name": found.name, "summary": found.line}
        if also:
            row["also"] = ", ".join(found.constants.get("ALIASES", ()))
        if "EVIDENCE" in found.constants:
            row["evidence"] = str(found.constants["EVIDENCE"])
        rows.append(row)
    return rows


def _pairs(table: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "summary": summary} for name, summary in table.items()]
