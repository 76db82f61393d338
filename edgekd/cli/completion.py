"""What the shell offers for an argument that names something built in."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import get_args

from typer.models import ParameterInfo

from edgekd.core import catalogue, plugins

# By the name of the parameter; files come from the shell itself.
_BUILT_IN: dict[str, Callable[[], Iterable[str]]] = {
    "recipe": partial(catalogue.names, "recipes"),
    "target": partial(catalogue.names, "export"),
    "platform": partial(catalogue.names, "profiles/platforms"),
    "criterion": partial(plugins.names, plugins.CRITERIA),
    "calibrator": partial(plugins.names, plugins.CALIBRATORS),
}


def offer_names(command: Callable[..., None]) -> Callable[..., None]:
    """Let the shell complete each parameter of a command that names something built in."""
    for name, parameter in inspect.signature(command).parameters.items():
        if name in _BUILT_IN:
            for info in get_args(parameter.annotation):
                if isinstance(info, ParameterInfo):
                    info.autocompletion = _beginning(_BUILT_IN[name])
    return command


def _beginning(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    def found(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return found
