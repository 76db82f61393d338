"""Print what the real module has, in the form of tests/facts: names and signatures alone."""

import json
import re
from typing import Any

import tensorrt as trt

# How versions of pybind11 write one and the same type.
_SPELLINGS = (
    (r"\btensorrt(_bindings)?\.tensorrt\.|\bnvinfer1::|\bnvonnxparser::", ""),
    (r"\btyping\.SupportsInt( \| typing\.SupportsIndex)?", "int"),
    (r"\btyping\.SupportsFloat( \| typing\.SupportsIndex)?", "float"),
    (r"\bcollections\.abc\.Sequence\[|\blist\[", "List["),
    (r"\btuple\[", "Tuple["),
    (r"\b(types|typing_extensions)\.CapsuleType\b", "capsule"),
    (r"\b((collections\.abc|typing_extensions)\.)?[Bb]uffer\b", "buffer"),
    (r"\bI(ParserError|EngineInspector)\b", r"\1"),  # the C++ name of a class bound by another
)


def _plain(text: str) -> str:
    for pattern, word in _SPELLINGS:
        text = re.sub(pattern, word, text)
    return text.strip()


def _signatures(name: str, doc: str) -> list[str]:
    lines = doc.splitlines()
    if len(lines) > 1 and lines[1].startswith("Overloaded function"):
        chosen = [re.sub(r"^\d+\. ", "", one) for one in lines if re.match(r"\d+\. \w+\(", one)]
    else:
        chosen = lines[:1]
    return [_plain(one).removeprefix(name) for one in chosen]


def _member(name: str, found: Any) -> Any:
    if not isinstance(found, property):
        return _signatures(name, found.__doc__ or "")
    kind = _plain((found.fget.__doc__ or "").rpartition(" -> ")[2]) if found.fget else "?"
    return f"{'ro' if found.fset is None else 'rw'} {kind}"


def _classes() -> dict[str, Any]:
    kinds = {name: one for name, one in vars(trt).items() if isinstance(one, type)}
    return {
        name: {
            label: _member(label, found)
            for label, found in vars(kind).items()
            if isinstance(found, property) or callable(found)
        }
        for name, kind in kinds.items()
        if not hasattr(kind, "__members__")
    }


def _enums() -> dict[str, dict[str, int]]:
    kinds = {**vars(trt), "ILogger.Severity": trt.ILogger.Severity}
    return {
        name: {label: int(one) for label, one in kind.__members__.items()}
        for name, kind in kinds.items()
        if hasattr(kind, "__members__")
    }


kinds = {name: dir(kind) for name, kind in vars(trt).items() if isinstance(kind, type)}
told = {"names": dir(trt), "kinds": kinds, "classes": _classes(), "enums": _enums()}
print("RESULT", json.dumps(told))  # noqa: T201
