"""Baselines: what an earlier version needed on a device, to compare with. Written on request alone.

``DIR/DEVICE.json`` holds one for each device. Numbers of another machine, power mode or version of
the engine tell nothing about the model, so such a comparison is refused.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgekd.core import provenance, records
from edgekd.core.errors import InconclusiveError, RecordError
from edgekd.core.record import NotNegative, PositiveInterval
from edgekd.core.records import Measurement
from edgekd.core.run_folder import Run

_CONDITIONS = (
    "device",
    "machine",
    "power_mode",
    "engine",
    "batch",
    "threads",
    "scenario",
    "streams",
)


class Entry(records.Part):
    """What one artifact needed."""

    sha256: str
    bytes: Annotated[int, Field(gt=0, lt=2**63)]
    runs: Annotated[int, Field(ge=1)]
    p50_ms: PositiveInterval
    p90_ms: PositiveInterval
    p99_ms: PositiveInterval | None  # None: under 299 samples
    peak_memory_mib: NotNegative


class Baseline(records.Record):
    """What the artifacts of one run needed on one device, and under which conditions."""

    device: str
    machine: str
    power_mode: str | None
    engine: str  # with its version
    batch: int
    threads: int
    scenario: Literal["single", "multi", "offline"] = "single"
    streams: int = 1
    entries: dict[str, Entry]  # by the artifact's name

    def check(self, measurement: Measurement) -> None:
        """Refuse a measurement that was taken under other conditions.

        Raises:
            RecordError: names each difference.
        """
        differences = [
            f"{name.replace('_', ' ')} '{getattr(self, name)}' then, "
            f"'{getattr(measurement, name)}' now"
            for name in _CONDITIONS
            if getattr(self, name) != getattr(measurement, name)
        ]
        if differences:
            raise RecordError(
                f"the baseline of '{self.device}' cannot be compared with this run: "
                f"{'; '.join(differences)}. Measure under the same conditions, or take a new "
                "baseline with --update"
            )


def path(folder: Path, device: str) -> Path:
    """Return the file of a device's baseline.

    Raises:
        RecordError: the device's name is no file name.
    """
    if not device or Path(device).name != device:
        raise RecordError(f"a device's name must do as a file name, but one is '{device}'")
    return folder / f"{device}.json"


def read(folder: Path, measurement: Measurement | None) -> Baseline:
    """Read the baseline that a measurement may be compared with.

    Raises:
        RecordError: there is none, it is damaged, or it was taken under other conditions.
    """
    if measurement is None:
        raise RecordError("the run has no latency measurement to compare with a baseline")
    file = path(folder, measurement.device)
    if not file.is_file():
        raise RecordError(
            f"there is no baseline '{file}': write one with "
            f"`edgekd gate GOOD_RUN --baselines {folder} --update`"
        )
    found = records.read(Baseline, file)
    found.check(measurement)
    return found


def of(run: Run, measurement: Measurement) -> Baseline:
    """Return what a run needed, as a baseline for later ones.

    Args:
        run: whose artifacts were measured.
        measurement: checked; see ``Evidence.measurement``.

    Raises:
        InconclusiveError: the measurement was disturbed.
        RecordError: it belongs to other files.
    """
    if measurement.warnings:
        doubts = "; ".join(measurement.warnings)
        raise InconclusiveError(f"a disturbed measurement is no baseline: {doubts}: measure again")
    for timing in measurement.timings:
        artifact = run.artifacts.get(timing.subject)
        if artifact is None or artifact.sha256 != timing.sha256:
            raise RecordError(
                f"the latency of '{timing.subject}' belongs to another file: measure it again"
            )
    return Baseline(
        provenance=provenance.stamp("numpy"),
        parents=(measurement.samples_sha256, *(timing.sha256 for timing in measurement.timings)),
        **{name: getattr(measurement, name) for name in _CONDITIONS},
        entries={
            timing.subject: Entry(
                sha256=timing.sha256,
                bytes=run.artifacts[timing.subject].bytes,
                runs=timing.runs,
                p50_ms=timing.p50_ms,
                p90_ms=timing.p90_ms,
                p99_ms=timing.p99_ms,
                peak_memory_mib=timing.peak_memory_mib,
            )
            for timing in measurement.timings
        },
    )
