"""Past measurements on boards, by which estimates for such boards are calibrated.

A measurement counts for the power mode that it was made in, and for no other.
"""

from collections.abc import Sequence
from pathlib import Path

from edgekd.core import files, records
from edgekd.core.errors import InconclusiveError, RecordError, UsageError
from edgekd.core.records import Measurement, Timing
from edgekd.profile import estimate, peaks
from edgekd.profile.estimate import Known, Wishes
from edgekd.remote import inventory
from edgekd.remote.devices import Device


def known(
    paths: Sequence[Path], kind: str, device: Device, mode: str | None, fleet: Path | None
) -> list[Known]:
    """Return what measurements say of the models in them, as far as made on such a board.

    Args:
        paths: records, or folders with one.
        kind: the board's name.
        device: its facts.
        mode: the power mode that is estimated; None: the fastest.
        fleet: the inventory that has the devices; None: the user's own.

    Raises:
        UsageError: there are measurements, but none from such a board in that mode.
        InconclusiveError: one was disturbed.
        RecordError: one cannot be read, or an ONNX file that it measured is gone.
    """
    board = estimate.board_of(kind, device)
    wanted = peaks.fastest(board) if mode is None else [mode]
    found: list[Known] = []
    others = []
    for path in paths:
        file = record_of(path)
        record = records.read(Measurement, file)
        alike = record.device == kind or inventory.find(record.device, fleet).kind == kind
        if alike and (not board.modes or record.power_mode in wanted):
            found += _factors(record, file, kind, device)
        else:
            made_in = record.power_mode or "that it does not tell"
            others.append(f"'{path}' is from '{record.device}', in mode {made_in}")
    if others and not found:
        modes = f" in mode {' or '.join(wanted)}" if board.modes else ""
        raise UsageError(
            f"none of the measurements given is from a '{kind}'{modes}: {'; '.join(others)}. "
            "Calibrate with one that is"
        )
    return found


def record_of(path: Path) -> Path:
    """Return the record that a path means: itself, or the one in that folder."""
    return path if path.suffix == ".json" else path / "measurement.json"


def _factors(record: Measurement, file: Path, kind: str, device: Device) -> list[Known]:
    if record.streams > 1:
        raise UsageError(f"'{file}' was measured with {record.streams} streams: calibrate with one")
    if record.warnings:
        raise InconclusiveError(f"'{file}' is inconclusive: {record.warnings[0]}. Measure it again")
    mode = record.power_mode if device.board is not None and device.board.modes else None
    wishes = Wishes(record.batch, None, mode)
    return [
        Known(
            timing.p50_ms.value,
            estimate.estimate(_onnx(timing, file), kind, device, wishes).p50_ms,
        )
        for timing in record.timings
    ]


def _onnx(timing: Timing, file: Path) -> Path:
    """Return the ONNX file that was measured: by its path, or in the run that the record is in."""
    places = (
        Path(timing.subject),
        file.parent.parent / "artifacts" / timing.subject / "model.onnx",
    )
    for path in places:
        if path.suffix == ".onnx" and path.is_file() and files.sha256_of(path) == timing.sha256:
            return path
    raise RecordError(
        f"'{file}' measured '{timing.subject}', whose ONNX file is not at {places[0]} or "
        f"{places[1]}, or was changed (SHA-256 {timing.sha256[:12]}...): put it back, to calibrate"
    )
