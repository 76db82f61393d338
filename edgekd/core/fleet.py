"""What ``edgekd profile`` writes of several devices: a row for each cell of its table.

A cell is a device, a model and a batch. Its record lies in a folder of its own.
"""

from typing import Literal

from edgekd.core.records import Part, Record

FILE = "fleet.json"
State = Literal["measured", "estimated", "inconclusive", "failed"]


class Row(Part):
    """One cell, done or failed."""

    device: str
    model: str
    batch: int
    key: str  # SHA-256 of all that the result depends on
    state: State
    power_mode: str | None = None  # as it was found; None: the device does not say
    precision: str | None = None  # of most of the arithmetic; None: not known
    low_ms: float | None = None  # p50: of a measurement's interval, or an estimate's range
    p50_ms: float | None = None  # None: an estimate has none, nor has a failure
    high_ms: float | None = None
    record: str | None = None  # its file, below the fleet's folder; None: it failed
    sha256: str | None = None  # of that file
    reason: str = ""  # why it failed, or is doubtful
    exit_status: int = 0  # what the command would have ended with for this cell alone
    attempts: int = 1
    lost: tuple[str, ...] = ()  # why, of each attempt before the last
    resumed: bool = False  # taken over from an earlier command


class Fleet(Record):
    """All cells that are done, in the order in which they were asked for."""

    rows: tuple[Row, ...] = ()
