"""The stand-in for TensorRT has what the bindings of its version have: no name more, none less."""

import json
from types import ModuleType
from typing import Any

import pytest

from tests.standins.standin import FACTS

CONSTANTS = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "FP8": "fp8"} | {
    name: name.lower() for name in ("INT8", "INT32", "INT64", "BOOL", "UINT8", "INT4", "FP4")
}


@pytest.fixture
def facts(version: str) -> Any:
    return json.loads((FACTS / f"trt_api_{version}.json").read_text())


def public(owner: Any) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_module_has_the_names_of_its_version(trt: ModuleType, facts: Any) -> None:
    constants = {CONSTANTS[name] for name in facts["enums"]["DataType"] if name in CONSTANTS}
    enums = {name for name in facts["enums"] if "." not in name}
    assert public(trt) == {*facts["classes"], *facts["functions"], *enums, *constants}
    assert trt.__version__ == facts["version"]


def test_classes_have_the_members_of_their_version(trt: ModuleType, facts: Any) -> None:
    severities = {"Severity", *facts["enums"]["ILogger.Severity"]}
    for name, members in facts["classes"].items():
        cls = getattr(trt, name)
        expected = {member for member in members if not member.startswith("_")}
        expected |= severities if name in {"Logger", "ILogger"} else set()
        if issubclass(cls, trt.IProfiler):
            expected |= {"report_layer_time"}
        assert public(cls) == expected, name
        for special in ("__len__", "__getitem__", "__bool__"):
            assert hasattr(cls, special) == (special in members), (name, special)


def test_properties_are_writable_where_the_bindings_say_so(trt: ModuleType, facts: Any) -> None:
    for name, members in facts["classes"].items():
        for member, fact in members.items():
            if isinstance(fact, str):
                found = vars(getattr(trt, name))[member]
                assert (found.fset is not None) == fact.startswith("rw"), (name, member)


def test_methods_take_the_arguments_of_their_version(trt: ModuleType, facts: Any) -> None:
    for name, members in facts["classes"].items():
        for member, fact in members.items():
            found = vars(getattr(trt, name)).get(member)
            if hasattr(found, "signatures"):
                assert [one.text for one in found.signatures] == fact, (name, member)


def test_enumerations_have_the_numbers_of_their_version(trt: ModuleType, facts: Any) -> None:
    for name, values in facts["enums"].items():
        kind = trt.ILogger.Severity if "." in name else getattr(trt, name)
        assert {label: int(one) for label, one in kind.__members__.items()} == values
        assert {label: int(getattr(kind, label)) for label in values} == values
        assert public(kind) == {*values, "name", "value"} | ({"itemsize"} & public(kind))
