import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core.errors import DeviceError
from edgekd.remote import lines

BLOCK = {
    "schema_version": 1,
    "type": "block",
    "subject": 0,
    "block": 1,
    "samples_ns": [5, 6],
    "wall_ns": 12,
}

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


PIECE = {"schema_version": 1, "type": "piece", "name": "a", "data": "AAE=", "sha256": None}
JETSON = {
    "model": "m", "compatible": ["c"], "l4t": None, "tensorrt": None, "cuda": None,
    "power_mode": None, "gpu": None, "temperatures_c": {"tj": 40.0},
}  # fmt: skip
PROBE = {
    "schema_version": 1, "type": "probe", "machine": "m", "architecture": "a", "flags": [],
    "cores": 1, "memory_mib": None, "os": "o", "python": "p", "numpy": None, "engines": {},
    "jetson": JETSON,
}  # fmt: skip


def test_a_piece_is_read_as_bytes() -> None:
    line = lines.parse(json.dumps(PIECE))
    assert isinstance(line, lines.Piece)
    assert line.data == b"\x00\x01"


@settings(deadline=None)  # the first call builds the parser
@given(st.sampled_from([BLOCK, PIECE, PROBE]), st.data())
def test_any_change_of_a_line_is_a_line_or_a_device_error(
    line: dict[str, object], data: st.DataObject
) -> None:
    change = data.draw(st.dictionaries(st.sampled_from(sorted(line)), JSON))
    try:
        found = lines.parse(json.dumps(line | change))
    except DeviceError:
        return
    assert found.type == line["type"]


@given(st.dictionaries(st.sampled_from(sorted(JETSON)), JSON))
def test_any_answer_of_a_jetson_is_one_or_a_device_error(change: dict[str, object]) -> None:
    try:
        found = lines.parse(json.dumps(PROBE | {"jetson": JETSON | change}))
    except DeviceError:
        return
    assert isinstance(found, lines.Probe)
