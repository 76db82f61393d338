"""Have the energy of models measured, by an errand of its own behind that for their latency."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records
from edgekd.core.errors import DeviceError
from edgekd.core.progress import Progress, Task
from edgekd.profile import doubts, energy, series
from edgekd.remote import errand, inventory, lines, session
from edgekd.remote.errand import Sent

BLOCKS = 10
INTERVAL_MS = 100  # the sensors of most boards are not refreshed much faster
PATIENCE_S = 5.0  # for the sensor's first readings
SETTLE_S = 0.5  # before each stretch: clocks, and sensors that average, lag behind
RUN_S = 2.0  # 20 readings
IDLE_S = 3.0
WARM_UP_S = (0.5, 10.0)


@dataclass
class _Notes:
    """What the agent said, as far as energy goes."""

    stretches: list[lines.Stretch] = field(default_factory=list)
    power: lines.Power | None = None
    telemetry: list[lines.Telemetry] = field(default_factory=list)  # before and after
    series: lines.Series | None = None
    boot_id: str | None = None

    def take(self, line: lines.Line, task: Task) -> None:
        match line:
            case lines.Machine():
                self.boot_id = line.boot_id
            case lines.Stretch():
                self.stretches.append(line)
            case lines.Power():
                self.power = line
            case lines.Series():
                self.series = line
            case lines.Telemetry():
                # Behind the last stretch, which is idle, a clock that has fallen tells nothing.
                self.telemetry.append(line.model_copy(update={"cpu_mhz": None}))
            case lines.Progress():
                task.advance(1, line.note)
            case _:
                pass  # the same verb tells of latency, which is not asked for here


def with_energy(
    record: records.Measurement,
    models: Sequence[Path],
    images_nchw: NDArray[np.float32],
    place: inventory.Place,
    file: Path,
    progress: Progress,
) -> records.Measurement:
    """Return a measurement of latency with the energy of the same models.

    Args:
        record: of the latency.
        models: their files, in its order.
        images_nchw: one batch, float32 [B, C, H, W], normalised.
        place: where they run.
        file: gets the raw readings, .npz.
        progress: who is told how far it is.

    Raises:
        DeviceError: the device cannot be reached, or fails.
    """
    names = [timing.subject for timing in record.timings]
    notes = _Notes()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        images = Path(folder) / "images.npy"
        np.save(images, np.ascontiguousarray(images_nchw, dtype=np.float32))
        request = {
            "engine": place.device.engine,
            "images": Sent(images),
            "threads": record.threads,
            "blocks": 0,  # of latency
            "runs": 0,
            "warm_up_s": list(WARM_UP_S),
            "subjects": [
                {"name": name, "path": errand.model(path)}
                for name, path in zip(names, models, strict=True)
            ],
            "energy": {
                "blocks": BLOCKS,
                "interval_ms": INTERVAL_MS,
                "patience_s": PATIENCE_S,
                "readings": energy.FEWEST_READINGS + 2,
                "settle_s": SETTLE_S,
                "run_s": RUN_S,
                "idle_s": IDLE_S,
            },
        }
        with (
            progress.task("measure energy", len(names) * (1 + BLOCKS)) as task,
            session.talk("run", request, reach=place.reach) as said,
        ):
            for line in said:
                notes.take(line, task)
    if notes.power is None:
        raise DeviceError("the agent was asked for energy, but sent no readings of power")
    found, uses = energy.result(notes.power, notes.stretches, names, record.batch, place.rail, file)
    if found.missing is None:
        foreign_ratio = doubts.foreign_load(notes.telemetry)
        others = doubts.about_machine(notes.telemetry, foreign_ratio, notes.series)
        others += doubts.about_falling_clocks(notes.series, names)
        told = [f"{doubt} while energy was measured" for doubt in others]
        told += doubts.about_restart(record.boot_id, notes.boot_id)
        found = found.model_copy(update={"doubts": (*found.doubts, *told)})
    timings = tuple(
        timing.model_copy(update={"energy": use})
        for timing, use in zip(record.timings, uses, strict=True)
    )
    kept = series.record(notes.series, names, place.rail)
    found = found.model_copy(update={"series": kept})
    return record.model_copy(update={"energy": found, "timings": timings})
