"""Check what people wrote, and say of every fault where it is and what was expected."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekd.core.errors import UsageError, did_you_mean

S = TypeVar("S", bound="Spec")


class Spec(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def checked(kind: type[S], tree: Any, name: str) -> S:
    """Check a tree of values against a spec.

    Raises:
        UsageError: unknown key, wrong type or value; every fault is listed.
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        faults = "\n".join(f"  {line}" for line in _explain(error, kind))
        raise UsageError(f"{name} cannot be used:\n{faults}") from error


def _explain(error: ValidationError, kind: type[Spec]) -> list[str]:
    lines = []
    for fault in error.errors():
        place = ".".join(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = _keys_at(kind, fault["loc"][:-1])
            hint = did_you_mean(str(fault["loc"][-1]), known).replace("There are:", "It takes:")
            lines.append(f"{place}: unknown key.{hint}")
        elif fault["type"] == "missing":
            lines.append(f"{place}: missing")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            message = "must be a list" if fault["type"] == "tuple_type" else message
            shown = "" if isinstance(fault["input"], dict) else f", found {fault['input']!r}"
            lines.append(f"{place}: {message}{shown}" if place else message)
    return lines


def _keys_at(kind: type[Spec], place: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a spec takes at ``place``."""
    schema = kind.model_json_schema()
    node: dict[str, Any] = schema
    for step in place:
        node = _resolve(node, schema)
        node = node["items"] if isinstance(step, int) else node["properties"][step]
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, also through "this or nothing"."""
    for choice in node.get("anyOf", [node]):
        if "$ref" in choice:
            found: dict[str, Any] = schema["$defs"][choice["$ref"].rpartition("/")[2]]
            return found
        if "items" in choice:
            return dict(choice)
    return node
