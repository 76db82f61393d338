"""Measure latency, in turns, through the agent: on this machine or on a board.

Raw samples come from the agent; every statistic is computed here, in ``timings``; ``doubts`` says
what makes them worthless.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, provenance, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.profile import doubts, sampling, series, timings
from edgekd.profile.notes import Notes
from edgekd.profile.timings import Subject
from edgekd.remote import errand, inventory, session
from edgekd.remote.errand import Sent

__all__ = ["Subject", "files_of", "measure"]

WARM_UP_S = (0.5, 10.0)  # at least, at most; 10 s are some minutes for a whole measurement
GPU_WARM_UP_S = (1.0, 20.0)  # its clock takes longer to rise


def measure(
    subjects: Sequence[Subject],
    spec: specs.Profile,
    images_nchw: NDArray[np.float32],
    out: Path,
    progress: Progress | None = None,
    fleet: Path | None = None,
) -> records.Measurement:
    """Measure models in turns; the first is the reference of the ratios.

    Args:
        subjects: at least one, with different names.
        spec: device, threads, blocks, runs, scenario.
        images_nchw: one batch, float32 [B, C, H, W], normalised; B as the spec says.
        out: the record to write (.json), its samples beside it; or a folder, which gets
            ``measurement.json`` and ``samples.npz``.
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
        found = [
            timings.Taken(subjects, spec, _listen(place, request, title, progress or Silent()))
            for title in ("measure latency", "measure it again")[: 1 + spec.confirm]
        ]
    target, samples = files_of(out)
    with files.replacing(samples) as temporary, temporary.open("wb") as handle:
        arrays: dict[str, Any] = found[0].samples()
        np.savez(handle, **arrays)
    record = _record(spec, found, samples, place)
    records.write(record, target)
    if spec.energy:
        readings = samples.with_suffix(".power.npz")
        models = [subject.runs[0] for subject in subjects]
        record = sampling.with_energy(
            record, models, images_nchw, place, readings, progress or Silent()
        )
        records.write(record, target)
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
    on_gpu = place.device.engine == "tensorrt"
    return {
        "engine": place.device.engine,
        "images": Sent(images),
        "threads": spec.threads,
        "streams": spec.streams,
        "blocks": spec.blocks,
        "runs": spec.runs,
        "warm_up_s": list(GPU_WARM_UP_S if on_gpu else WARM_UP_S),
        "subjects": [
            {"name": subject.name, "path": errand.model(path)}
            for subject in subjects
            for path in subject.runs
        ],
    }


def _listen(
    place: inventory.Place, request: dict[str, Any], title: str, progress: Progress
) -> Notes:
    notes = Notes()
    total = len(request["subjects"]) * (1 + request["blocks"])
    with (
        progress.task(title, total) as task,
        session.talk("run", request, reach=place.reach) as said,
    ):
        for line in said:
            notes.take(line, task)
    return notes


def files_of(out: Path) -> tuple[Path, Path]:
    """Return where the record goes, and its samples."""
    if out.suffix == ".json":
        return out, out.with_suffix(".npz")
    return out / "measurement.json", out / "samples.npz"


def _record(
    spec: specs.Profile, found: Sequence[timings.Taken], samples: Path, place: inventory.Place
) -> records.Measurement:
    first = found[0]
    notes, noise = first.notes, first.noise
    warnings = doubts.about(first)
    for again in found[1:]:
        warnings += [f"{doubt} when measured again" for doubt in doubts.about(again)]
        warnings += doubts.about_restart(notes.boot_id, again.notes.boot_id)
    repeated = doubts.about_repetition(*found) if spec.confirm else []
    before, after = notes.conditions
    locked = before.gpu.locked if before.gpu is not None else before.cpu_locked
    heat = [moment.temperature_c for moment in (notes.telemetry[0], notes.telemetry[-1])]
    return records.Measurement(
        provenance=provenance.stamp("numpy", seed=0),
        parents=tuple(subject.sha256 for subject in first.subjects),
        device=spec.device,
        machine=notes.machine,
        boot_id=notes.boot_id,
        engine=first.engine,
        power_mode=after.power_mode,
        batch=spec.batch,
        threads=spec.threads,
        scenario=spec.scenario,
        streams=spec.streams,
        timings=first.timings,
        samples_file=samples.name,
        samples_sha256=files.sha256_of(samples),
        foreign_load_ratio=doubts.foreign_load(notes.telemetry),
        gpu_load_ratio=doubts.gpu_load(before, after),
        noise_ratio=noise,
        clocks_locked=locked,
        series=series.record(notes.series, first.names(), place.rail),
        temperatures_c=None if None in heat else (heat[0] or 0.0, heat[1] or 0.0),
        confirmed=not repeated if spec.confirm else None,
        warnings=(*warnings, *repeated),
        notes=tuple(first.remarks(noise, locked=locked)),
    )
