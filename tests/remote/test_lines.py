import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core.errors import DeviceError
from edgekd.remote import lines

BLOCK = {"schema_version": 1, "type": "block", "subject": 0, "block": 1, "samples_ns": [5, 6]}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda child: st.lists(child) | st.dictionaries(st.text(), child),
    max_leaves=8,
)


def test_a_block_is_read() -> None:
    line = lines.parse(json.dumps(BLOCK))
    assert isinstance(line, lines.Block)
    assert line.samples_ns == (5, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"type": "blocks"},
        {"samples_ns": [0]},  # no inference takes no time
        {"samples_ns": [1.5]},
        {"subject": -1},
        {"surplus": 1},
    ],
    ids=str,
)
def test_a_line_of_another_schema_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="JSON lines of schema 1"):
        lines.parse(json.dumps(BLOCK | change))


@settings(deadline=None)  # the first call builds the parser
@given(st.text())
def test_any_text_is_a_line_or_a_device_error(text: str) -> None:
    with pytest.raises(DeviceError):
        lines.parse(text)


@settings(deadline=None)  # the first call builds the parser
@given(st.dictionaries(st.sampled_from(sorted(BLOCK)), JSON))
def test_any_change_of_a_line_is_a_line_or_a_device_error(change: dict[str, object]) -> None:
    try:
        line = lines.parse(json.dumps(BLOCK | change))
    except DeviceError:
        return
    assert line.type == "block"
