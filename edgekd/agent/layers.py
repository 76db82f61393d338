"""Read what trtexec writes of an engine's time: that of each layer, and that of each inference.

trtexec writes names without escapes, and numbers that JSON does not have (nan, inf), so a file is
read as JSON first, and by its lines where that fails. A number is returned only if it is finite and
not negative; anything else is an error, never a guess.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .protocol import AgentError

_NUMBER = r"[-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|nan|inf)"
_ROW = re.compile(
    r'^[\[,\s]*\{\s*"name"\s*:\s*"(?P<name>.*)"\s*,\s*"timeMs"\s*:\s*(?P<timeMs>%(n)s)'
    r'\s*,\s*"averageMs"\s*:\s*(?P<averageMs>%(n)s)'
    r'(?:\s*,\s*"medianMs"\s*:\s*(?P<medianMs>%(n)s))?'
    r'\s*,\s*"percentage"\s*:\s*%(n)s\s*\}[\],\s]*$' % {"n": _NUMBER}
)
_COUNT = re.compile(r'^[\[,\s]*\{\s*"count"\s*:\s*(?P<count>\d{1,12})\s*\}[\],\s]*$')
_FRAME = re.compile(r"^[\[\],\s]*$")
_TIMES = ("latencyMs", "computeMs", "h2dMs", "d2hMs")


class LayerTime(NamedTuple):
    """The time of one layer in one inference, in ms."""

    name: str
    mean_ms: float
    median_ms: Optional[float]  # None: written by a version that does not say
    precision: str = ""  # "int8", "fp32 to int8"; "": not said, as trtexec never does


class Profile(NamedTuple):
    """What ``--exportProfile`` writes; a name may come more than once."""

    inferences: int
    layers: Tuple[LayerTime, ...]


class Times(NamedTuple):
    """What ``--exportTimes`` writes: one value for each inference, in ms."""

    latency_ms: Tuple[float, ...]  # of copying in, computing and copying out
    compute_ms: Tuple[float, ...]
    h2d_ms: Tuple[float, ...]
    d2h_ms: Tuple[float, ...]


def parse_profile(text: str) -> Profile:
    """Read the times of layers.

    Raises:
        AgentError: it is not such a file, or holds a time that is no number.
    """
    entries = _entries(text)
    if entries is None:
        entries = _lines(text)
    counts = [entry["count"] for entry in entries if "count" in entry]
    rows = [entry for entry in entries if "name" in entry]
    if len(counts) != 1 or not rows or len(rows) + 1 != len(entries):
        raise _fault("one object with 'count' and one with 'name' for each layer")
    if type(counts[0]) is not int or counts[0] < 1:
        raise _fault("'count', the number of inferences, to be 1 or more, not %r" % (counts[0],))
    return Profile(counts[0], tuple(_layer(row) for row in rows))


def parse_times(text: str) -> Times:
    """Read the times of inferences.

    Raises:
        AgentError: it is not such a file, or holds a time that is no number.
    """
    entries = _entries(text)
    if not entries:
        raise _fault("a JSON list of objects with %s" % ", ".join(_TIMES))
    columns = [tuple(_time(entry, key) for entry in entries) for key in _TIMES]
    return Times(*columns)


def percentile(values: Tuple[float, ...], percent: float) -> float:
    """Return a percentile by linear interpolation between the two nearest values.

    Args:
        values: at least one.
        percent: in [0, 100].
    """
    there = sorted(values)
    place = (len(there) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(there) - 1)
    return there[low] + (there[high] - there[low]) * (place - low)


def _entries(text: str) -> Optional[List[Dict[str, Any]]]:
    """Return a JSON list of objects; empty: something else; None: not JSON."""
    try:
        found = json.loads(text, strict=False)  # control characters stand in names
    except (ValueError, RecursionError):
        return None
    fits = isinstance(found, list) and all(isinstance(entry, dict) for entry in found)
    return found if fits else []


def _lines(text: str) -> List[Dict[str, Any]]:
    """Read the layout of trtexec, one object a line, with names as they are."""
    entries: List[Dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        row, count = _ROW.match(line), _COUNT.match(line)
        if row:
            there = {key: value for key, value in row.groupdict().items() if value is not None}
            entries.append({key: _read(key, value) for key, value in there.items()})
        elif count:
            entries.append({"count": int(count.group("count"))})
        elif not _FRAME.match(line):
            raise _fault("a layer in line %d, not '%s'" % (number, line.strip()[:60]))
    return entries


def _read(key: str, value: str) -> Any:
    if key == "name":
        return value
    try:
        return float(value)
    except ValueError:
        return value  # "1.2.3"; refused where the number is used


def _layer(row: Dict[str, Any]) -> LayerTime:
    if not isinstance(row["name"], str):
        raise _fault("a layer's name to be text, not %r" % (row["name"],))
    precision = row.get("precision", "")
    if not isinstance(precision, str):
        raise _fault("the precision of '%s' to be text, not %r" % (row["name"], precision))
    median = _time(row, "medianMs") if "medianMs" in row else None
    return LayerTime(row["name"], _time(row, "averageMs"), median, precision)


def _time(entry: Dict[str, Any], key: str) -> float:
    value = entry.get(key)
    try:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
    except OverflowError:  # an integer of 400 digits
        number = math.inf
    if not 0 <= number < math.inf:
        place = " of '%s'" % entry["name"] if "name" in entry else ""
        shown = repr(value)[:40]
        raise _fault("%s%s in ms to be a number of 0 or more, not %s" % (key, place, shown))
    return number


def _fault(expected: str) -> AgentError:
    return AgentError("engine", "cannot read what trtexec wrote: expected %s" % expected)
