"""What an agent would say of a measurement, without one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.core import specs
from edgekd.core.progress import Silent
from edgekd.profile.notes import Notes
from edgekd.profile.timings import Subject, Taken
from edgekd.remote import lines

GPU = {"now_mhz": 900.0, "min_mhz": 300.0, "max_mhz": 900.0, "locked": False}
QUIET = {"power_mode": None, "gpu": None, "cpu_locked": None, "available_mib": 900.0}


def line(kind: str, **values: Any) -> Any:
    """Return one line as it would have arrived."""
    return lines._LINE.validate_python({"schema_version": 1, "type": kind, **values})


def moment(**values: Any) -> lines.Telemetry:
    """Return what telemetry tells; None: nothing."""
    names = ("busy_ticks", "all_ticks", "own_ticks", "cpu_mhz", "temperature_c", "throttled")
    told: lines.Telemetry = line("telemetry", **{**dict.fromkeys(names), **values})
    return told


def conditions(**values: Any) -> lines.Conditions:
    """Return the state of a machine that says nothing but what is given."""
    told: lines.Conditions = line("conditions", **{**QUIET, **values})
    return told


def series_line(**columns: Any) -> lines.Series:
    """Return what a recorder tells; what is not given, the device does not have."""
    count = len(columns["times_ns"])
    nothing = {"temperatures_c": {}, "gpu_mhz": [None] * count, "cpu_mhz": [None] * count,
               "throttling": [()] * count, "turns": (), "source": None, "no_power": None,
               "unit": None, "rails": {}}  # fmt: skip
    told: lines.Series = line("series", **{**nothing, **columns})
    return told


def subject(folder: Path, name: str, plans: int = 0) -> Subject:
    """Return a model whose files are there, but are no models."""
    files = [folder / f"{name}.onnx", *(folder / f"{name}-{i}.plan" for i in range(plans))]
    for file in files:
        file.write_bytes(b"x" * 10)
    return Subject(name, files[0], "0" * 64, tuple(files[1:]))


def taken(
    subjects: Sequence[Subject],
    samples_ms: Sequence[Any],
    *,
    spec: dict[str, Any] | None = None,
    gpu_ms: float | None = None,
    device_mib: float | None = None,
    steady: bool = True,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    telemetry: Sequence[lines.Telemetry] = (),
    engines: Sequence[str] = (),
    series: lines.Series | None = None,
) -> Taken:
    """Return a measurement with these samples of each file that ran, [blocks, runs] in ms."""
    blocks, runs = np.shape(samples_ms[0])
    asked = {"blocks": blocks, "runs": runs, **(spec or {})}
    notes = Notes(machine="Test processor", cores=4)
    said = [line("conditions", **{**QUIET, **(before or {})})]
    for index, mine in enumerate(samples_ms):
        name = engines[index] if engines else "engine 1"
        said += [
            line("opened", subject=index, engine=name, load_ms=1.0, cold_ms=2.0),
            line(
                "warmed", subject=index, runs=9, seconds=10.0, steady=steady, device_mib=device_mib
            ),
            line("memory", subject=index, peak_mib=3.0),
        ]
        for turn, times in enumerate(np.asarray(mine) * 1e6):
            samples = [int(value) for value in times]
            gpu = [] if gpu_ms is None else [int(gpu_ms * 1e6)] * len(samples)
            wall = sum(samples) // asked.get("streams", 1)
            said.append(
                line(
                    "block", subject=index, block=turn, samples_ns=samples, wall_ns=wall, gpu_ns=gpu
                )
            )
    said += [] if series is None else [series]
    said += [*(telemetry or [moment(), moment()]), line("conditions", **{**QUIET, **(after or {})})]
    for each in said:
        notes.take(each, Silent().task("", 0).__enter__())
    asked["runs"] = runs // asked.get("streams", 1)
    return Taken(subjects, specs.Profile.model_validate(asked), notes)
