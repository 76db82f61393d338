"""The templates that every page is made from."""

from functools import cache
from pathlib import Path

import jinja2


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
