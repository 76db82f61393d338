"""The user's own functions, named package.module:function: networks and images."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.core.errors import UsageError, did_you_mean


def find(name: str, expected: str) -> Callable[..., Any]:
    """Import the function of this name; call it and this inside ``working_directory``.

    Args:
        name: "package.module:function".
        expected: an example of such a name, for the message.

    Raises:
        UsageError: there is no such module or function, or it is part of Python.
    """
    place, _, attribute = name.partition(":")
    # A checkpoint's record may name a function too: `os:abort` is not one.
    if place.partition(".")[0] in sys.stdlib_module_names:
        raise UsageError(f"'{name}' is part of Python; expected {expected}")
    try:
        module = importlib.import_module(place)
    except (ImportError, SyntaxError) as error:
        raise UsageError(
            f"'{name}': importing '{place}' failed: {error}. It is looked for in the working "
            "directory and among the installed packages"
        ) from error
    found: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(found):
        there = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(
            f"'{place}' has no function '{attribute}'.{did_you_mean(attribute, there)}"
        )
    return found


@contextmanager
def working_directory() -> Iterator[None]:
    """Make the working directory importable, as ``python -m`` does, for this import only."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
