"""A folder is a registry: each module in it holds one plug-in, named like the module.

A module may go by further names, its constant ``ALIASES``. Names and summaries are read with
``ast``, so that listing them imports nothing.
"""

import ast
import contextlib
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekd.core.errors import UsageError, did_you_mean

T = TypeVar("T")

METHODS = "edgekd.distill.methods"
CRITERIA = "edgekd.prune.criteria"
CALIBRATORS = "edgekd.quantize.calibrators"


@dataclass(frozen=True)
class Summary:
    """What can be known about a plug-in without importing it."""

    name: str  # of the module: "kd"
    line: str  # the first line of its docstring
    constants: dict[str, Any]  # module-level literals in capitals: {"EVIDENCE": "code"}


def names(package: str) -> list[str]:
    """Return the sorted names of the plug-ins in the folder of ``package``."""
    return sorted(path.stem for path in _folder(package).glob("*.py") if path.stem != "__init__")


def summaries(package: str) -> list[Summary]:
    """Read name, first line and literal constants of every plug-in of ``package``."""
    return [_summary(_folder(package) / f"{name}.py") for name in names(package)]


def aliases(package: str) -> dict[str, str]:
    """Return the further names of the plug-ins of ``package``: alias -> name."""
    return {
        alias: found.name
        for found in summaries(package)
        for alias in found.constants.get("ALIASES", ())
    }


def literal(module: str, name: str) -> Any:
    """Read the literal that ``module`` assigns to ``name``, without importing the module."""
    return _summary(_folder(module).with_suffix(".py")).constants[name]


def resolve(package: str, name: str) -> str:
    """Return the name of the plug-in that goes by this name or alias; imports nothing.

    Raises:
        UsageError: there is no such plug-in.
    """
    known = {each: each for each in names(package)} | aliases(package)
    if name not in known:
        raise UsageError(f"no {_noun(package)} is called '{name}'.{did_you_mean(name, known)}")
    return known[name]


def load(package: str, name: str, kind: type[T]) -> type[T]:
    """Import the plug-in of this name or alias and return the one class in it that is a ``kind``.

    Raises:
        UsageError: there is no such plug-in.
    """
    module = importlib.import_module(f"{package}.{resolve(package, name)}")
    classes = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if value.__module__ == module.__name__ and issubclass(value, kind)
    ]
    assert len(classes) == 1, f"{module.__name__} must define one {kind.__name__}: {classes}"
    return classes[0]


def create(package: str, name: str, kind: type[T], options: dict[str, object]) -> T:
    """Make the plug-in of this name or alias with keyword ``options``.

    Raises:
        UsageError: no such plug-in, an option that it does not take, or a value that it refuses or
            that is of another type than it says.
    """
    plugin = load(package, name, kind)
    noun = _noun(package)
    parameters = inspect.signature(plugin, eval_str=True).parameters
    takes = [key for key in parameters if key != "self"]
    for key in options:
        if key not in takes:
            hint = did_you_mean(key, takes) if takes else " It takes none."
            hint = hint.replace("There are:", "It takes:")
            raise UsageError(f"{noun} '{name}' has no option '{key}'.{hint}")
    types = {key: parameters[key].annotation for key in options}
    _check_types(types, options, f"{noun} '{name}'")
    try:
        return plugin(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{noun} '{name}': {error}") from error


def _noun(package: str) -> str:
    plural = package.rpartition(".")[2]
    return "criterion" if plural == "criteria" else plural.removesuffix("s")


def _check_types(types: Mapping[str, Any], options: Mapping[str, object], what: str) -> None:
    """Refuse a value that is not of the type that the plug-in's argument declares."""
    from pydantic import TypeAdapter, ValidationError  # only now: lists of plug-ins do without

    for key, value in options.items():
        try:
            TypeAdapter(types[key]).validate_python(value, strict=True)
        except ValidationError as error:
            expected = " or ".join(fault["msg"] for fault in error.errors())
            raise UsageError(f"{what}: {key}: {expected}, found {value!r}") from error


def _folder(package: str) -> Path:
    return Path(__file__).parents[2].joinpath(*package.split("."))


def _summary(path: Path) -> Summary:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id.isupper() and value is not None:
            with contextlib.suppress(ValueError):  # not a literal: nothing to know without running
                constants[target.id] = ast.literal_eval(value)
    return Summary(path.stem, (ast.get_docstring(tree) or "").partition("\n")[0], constants)
