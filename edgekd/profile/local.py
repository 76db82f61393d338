"""Measure latency, in turns, through the agent: on this machine or on a board.

Raw samples come from the agent; every statistic is computed here. Intervals of quantiles assume no
distribution; the ratio to the first subject is paired by block, so that what slowed both down
together cancels.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, provenance, records, specs, statistics
from edgekd.core.errors import DeviceError, UsageError
from edgekd.core.progress import Progress, Silent, Task
from edgekd.profile import doubts
from edgekd.remote import errand, inventory, lines, session
from edgekd.remote.errand import Sent

WARM_UP_S = (0.5, 10.0)  # at least, at most; 10 s are some minutes for a whole measurement
CONFIDENCE = 0.95  # two-sided


@dataclass(frozen=True)
class Subject:
    """A model file to be measured."""

    name: str  # in records and tables
    path: Path
    sha256: str


@dataclass
class Notes:
    """What the agent said, sorted."""

    machine: str = ""
    cores: int = 0
    opened: dict[int, lines.Opened] = field(default_factory=dict)
    warmed: dict[int, lines.Warmed] = field(default_factory=dict)
    memory: dict[int, lines.Memory] = field(default_factory=dict)
    telemetry: list[lines.Telemetry] = field(default_factory=list)
    blocks: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)  # in ns

    def take(self, line: lines.Line, task: Task) -> None:
        """Note one line."""
        match line:
            case lines.Machine():
                self.machine, self.cores = line.machine, line.cores
            case lines.Opened():
                self.opened[line.subject] = line
            case lines.Warmed():
                self.warmed[line.subject] = line
            case lines.Memory():
                self.memory[line.subject] = line
            case lines.Telemetry():
                self.telemetry.append(line)
            case lines.Block():
                self.blocks[line.subject, line.block] = line.samples_ns
            case lines.Progress():
                task.advance(1, line.note)
            case _:
                raise DeviceError(
                    f"the agent wrote '{line.type}', which is no part of a measurement"
                )


def measure(
    subjects: Sequence[Subject],
    spec: specs.Profile,
    images_nchw: NDArray[np.float32],
    out: Path,
    progress: Progress | None = None,
    fleet: Path | None = None,
) -> records.Measurement:
    """Measure model files in turns; the first is the reference of the ratios.

    Args:
        subjects: at least one, with different names.
        spec: device, threads, blocks and runs.
        images_nchw: one batch, float32 [B, C, H, W], normalised; B as the spec says.
        out: a folder; gets ``measurement.json`` and ``samples.npz``.
        progress: who is told how far it is; None: nobody.
        fleet: the inventory that has the device; None: the user's own.

    Raises:
        UsageError: the arguments do not fit each other.
        RecordError: a file that is missing, was changed, or is no model for these images.
        DeviceError: the device cannot be reached, or fails.
    """
    place = inventory.usable(spec.device, fleet)
    _check(subjects, spec, images_nchw)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        images = Path(folder) / "images.npy"
        np.save(images, np.ascontiguousarray(images_nchw, dtype=np.float32))
        request = _request(subjects, spec, place, images)
        notes = _listen(place, request, len(subjects) * (1 + spec.blocks), progress or Silent())
    samples = [_samples(notes, index, spec) for index in range(len(subjects))]
    file = out / "samples.npz"
    with files.replacing(file) as temporary, temporary.open("wb") as handle:
        arrays: dict[str, Any] = {s.name: ms for s, ms in zip(subjects, samples, strict=True)}
        np.savez(handle, **arrays)
    record = _record(subjects, spec, notes, samples, file)
    records.write(record, out / "measurement.json")
    return record


def _check(
    subjects: Sequence[Subject], spec: specs.Profile, images_nchw: NDArray[np.float32]
) -> None:
    names = [subject.name for subject in subjects]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise UsageError(
            f"'{twice[0]}' cannot be measured against itself: copy the file"
            if twice
            else "there is no model to measure"
        )
    if images_nchw.ndim != 4 or len(images_nchw) != spec.batch:  # noqa: PLR2004 (N, C, H, W)
        raise UsageError(
            f"the batch is {spec.batch}, but the images have the shape {images_nchw.shape}"
        )
    for subject in subjects:
        records.check_file(subject.path, subject.sha256)


def _request(
    subjects: Sequence[Subject], spec: specs.Profile, place: inventory.Place, images: Path
) -> dict[str, object]:
    return {
        "engine": place.device.engine,
        "images": Sent(images),
        "threads": spec.threads,
        "blocks": spec.blocks,
        "runs": spec.runs,
        "warm_up_s": list(WARM_UP_S),
        "subjects": [{"name": s.name, "path": errand.model(s.path)} for s in subjects],
    }


def _listen(
    place: inventory.Place, request: dict[str, object], total: int, progress: Progress
) -> Notes:
    notes = Notes()
    with (
        progress.task("measure latency", total) as task,
        session.talk("run", request, reach=place.reach) as said,
    ):
        for line in said:
            notes.take(line, task)
    return notes


def _samples(notes: Notes, subject: int, spec: specs.Profile) -> NDArray[np.float64]:
    """Return one subject's latencies in ms, [blocks, runs].

    Raises:
        DeviceError: the agent left some out.
    """
    blocks = [notes.blocks.get((subject, block), ()) for block in range(spec.blocks)]
    known = (
        notes.cores > 0
        and subject in notes.opened
        and subject in notes.warmed
        and subject in notes.memory
    )
    if not known or any(len(block) != spec.runs for block in blocks):
        raise DeviceError(
            f"the agent was asked for {spec.blocks} blocks of {spec.runs} runs of each model, but "
            f"sent other blocks or left out how model {subject + 1} was opened"
        )
    return np.array(blocks, dtype=np.float64) / 1e6


def _record(
    subjects: Sequence[Subject],
    spec: specs.Profile,
    notes: Notes,
    samples: Sequence[NDArray[np.float64]],
    file: Path,
) -> records.Measurement:
    timings = tuple(
        _timing(subject, notes, index, samples) for index, subject in enumerate(subjects)
    )
    foreign_ratio = doubts.foreign_load(notes.telemetry)
    warnings = [
        *doubts.about_models(
            timings, samples, [notes.warmed[index] for index in range(len(subjects))]
        ),
        *doubts.about_machine(notes.telemetry, foreign_ratio),
        *doubts.about_threads(spec.threads, notes.cores),
    ]
    return records.Measurement(
        provenance=provenance.stamp("numpy", seed=0),
        parents=tuple(subject.sha256 for subject in subjects),
        device=spec.device,
        machine=notes.machine,
        engine=notes.opened[0].engine,
        batch=spec.batch,
        threads=spec.threads,
        timings=timings,
        samples_file=file.name,
        samples_sha256=files.sha256_of(file),
        foreign_load_ratio=foreign_ratio,
        warnings=tuple(warnings),
    )


def _timing(
    subject: Subject, notes: Notes, index: int, samples: Sequence[NDArray[np.float64]]
) -> records.Timing:
    mine = samples[index]
    opened, memory = notes.opened[index], notes.memory[index]
    if opened.load_ms is None or opened.cold_ms is None or memory.peak_mib is None:
        raise DeviceError(f"the device does not tell how much memory '{subject.name}' takes")
    return records.Timing(
        subject=subject.name,
        sha256=subject.sha256,
        runs=mine.size,
        p50_ms=_certain(mine, 0.5),
        p90_ms=_certain(mine, 0.9),
        p99_ms=statistics.quantile_interval(mine.ravel(), 0.99, CONFIDENCE),
        ratio_to_first=statistics.ratio_of_medians(samples[0], mine, CONFIDENCE) if index else None,
        drift_ratio=doubts.drift(mine),
        load_ms=opened.load_ms,
        cold_ms=opened.cold_ms,
        peak_memory_mib=memory.peak_mib,
    )


def _certain(samples: NDArray[np.float64], quantile: float) -> records.Interval:
    interval = statistics.quantile_interval(samples.ravel(), quantile, CONFIDENCE)
    assert interval is not None, "the spec asks for enough samples"
    return interval
