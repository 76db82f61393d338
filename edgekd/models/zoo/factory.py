"""Your own network: package.module:factory, where factory(classes) returns an nn.Module."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.core.errors import UsageError, did_you_mean
from edgekd.models.family import IMAGENET, Defaults, Family

NAMES = "package.module:factory"


class Factory(Family):
    """Networks that the user's code makes."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Call the factory, with the number of classes if it takes an argument."""
        with _working_directory():
            factory = _find(name)
            try:
                takes_classes = bool(inspect.signature(factory).parameters)
                module = factory(classes) if takes_classes else factory()
            except (TypeError, ValueError) as error:
                raise UsageError(
                    f"'{name}' was called with classes={classes} and failed: {error}. Expected "
                    "factory(classes) or factory()"
                ) from error
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"'{name}' returned a {type(module).__name__}; expected a torch.nn.Module"
            )
        return module

    def defaults(self, name: str) -> Defaults:
        """Return ImageNet's; say otherwise with --mean, --std and the images themselves."""
        del name
        return Defaults((3, 224, 224), IMAGENET)


def _find(name: str) -> Callable[..., Any]:
    place, _, attribute = name.partition(":")
    root = place.partition(".")[0]
    # A checkpoint's record may name a factory too: `os:abort` is not one.
    if root in sys.stdlib_module_names:
        raise UsageError(f"'{name}' is part of Python; expected package.module:factory")
    try:
        module = importlib.import_module(place)
    except (ImportError, SyntaxError) as error:
        raise UsageError(
            f"'{name}': importing '{place}' failed: {error}. It is looked for in the working "
            "directory and among the installed packages"
        ) from error
    factory: Callable[..., Any] | None = getattr(module, attribute, None)
    if not callable(factory):
        there = [key for key, value in vars(module).items() if callable(value)]
        raise UsageError(
            f"'{place}' has no function '{attribute}'.{did_you_mean(attribute, there)}"
        )
    return factory


@contextmanager
def _working_directory() -> Iterator[None]:
    """Make the working directory importable, as ``python -m`` does, for this import only."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
