import copy
import json
import tomllib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekd.core import setting
from edgekd.core.errors import UsageError


def tree() -> dict[str, Any]:
    return {"a": {"b": 1, "c": [{"d": 2}, {"d": 3}]}, "e": "text", "f": [1, 2]}


def after(text: str) -> dict[str, Any]:
    result = tree()
    setting.apply(result, text)
    return result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=20", 20),
        ("a.b=1e-3", 0.001),
        ("a.b=true", True),
        ("a.b='x'", "x"),
        ('a.b="x=y"', "x=y"),
        ("a.b=[1, 'x']", [1, "x"]),
        ("a.b={x = 1}", {"x": 1}),
        ("a.b=folder/file", "folder/file"),  # no TOML: text
        ("a.b=x=y", "x=y"),
        ("a.b=", ""),
        ("a.b=True", "True"),
        ("a.b=1\nq=2", "1\nq=2"),  # not a second key
    ],
)
def test_a_value_is_tomls_and_what_is_none_is_text(text: str, value: object) -> None:
    expected = tree()
    expected["a"]["b"] = value
    assert after(text) == expected


def test_numbers_count_in_arrays() -> None:
    assert after("a.c.1.d=9")["a"]["c"] == [{"d": 2}, {"d": 9}]
    assert after("f.0=9")["f"] == [9, 2]


def test_tables_that_are_missing_are_made() -> None:
    assert after("g.h.i=1")["g"] == {"h": {"i": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b", r"takes KEY=VALUE, as in stages\.0\.epochs=20, but is 'a\.b'"),
        ("=1", "takes KEY=VALUE"),
        ("a..b=1", "takes KEY=VALUE"),
        (".a=1", "takes KEY=VALUE"),
        ("a.c.2.d=1", "expected a number below 2, found '2'"),
        ("f.2=1", "expected a number below 2, found '2'"),
        ("f.-1=1", "expected a number below 2, found '-1'"),
        ("f.x=1", "expected a number below 2, found 'x'"),
        ("f.\u00b2=1", "expected a number below 2"),  # a digit to Python, and no number
        ("e.x=1", "'e' has no parts"),
        ("e.x.y=1", "'x' lies below a plain value"),
    ],
)
def test_a_place_that_is_not_there_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        after(text)


@given(st.text())
@example("f.9=")
@example("a.c.0.d.x=1")
@example("a.b='''")
@example("a.b=1]")
def test_any_text_is_applied_or_is_the_users_mistake(text: str) -> None:
    result = tree()
    try:
        setting.apply(result, text)
    except UsageError:
        return
    assert "=" in text


_VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.text(alphabet=st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=3),
)


@given(_VALUES)
def test_every_toml_value_comes_back_as_toml_reads_it(value: object) -> None:
    written = json.dumps(value)  # of these values JSON writes TOML, but for one character
    written = written.replace("\x7f", "\\u007f")
    assert after(f"a.b={written}")["a"]["b"] == tomllib.loads(f"v = {written}")["v"] == value


@given(st.text())
def test_nothing_but_the_named_place_changes(raw: str) -> None:
    result = after(f"a.c.0.d={raw}")
    expected = copy.deepcopy(result)
    expected["a"]["c"][0]["d"] = 2
    assert expected == tree()
