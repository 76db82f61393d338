"""The templates that every page is made from."""

from functools import cache
from pathlib import Path

import jinja2

from edgekd.core.records import Provenance
from edgekd.report.blocks import Code, Section


@cache
def template(name: str) -> jinja2.Template:
    """Return the template ``name``.html.j2, which escapes all that it is given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.j2")


def origin(made: Provenance, *lines: str) -> Section:
    """Return who made a page's one record, and with what.

    Args:
        made: of the record.
        lines: more that it was made from.
    """
    facts = (
        " ".join(made.command),
        f"machine: {made.machine}",
        f"seed: {made.seed}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        *lines,
    )
    return Section("provenance", "Provenance", (Code("\n".join(facts)),))
