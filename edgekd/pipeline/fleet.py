"""Several devices, models and batches in one table: measured where there is a way, else estimated.

Boards are measured at once; whatever runs on this machine goes one by one.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from edgekd import __version__
from edgekd.core import files, records, specs
from edgekd.core.errors import UsageError
from edgekd.core.estimate import FILE, Estimate, Precision
from edgekd.core.fleet import Fleet, Row
from edgekd.core.progress import Progress, Silent
from edgekd.pipeline import past, profile
from edgekd.profile import estimate, fleet, kernels
from edgekd.profile.estimate import Wishes
from edgekd.profile.fleet import Cell
from edgekd.remote import inventory
from edgekd.remote.devices import Device
from edgekd.remote.session import Local

log = logging.getLogger(__name__)
_HERE = "this machine"


@dataclass(frozen=True)
class Job:
    """What ``edgekd profile`` was asked for.

    Args:
        models: ONNX files; for boards with TensorRT, engines.
        devices: names of places and of kinds of board, labels resolved.
        batches: images at once; each is measured on its own.
        spec: how to measure; its device and batch are replaced.
        against: the reference that is measured in turns with each model; None: nothing.
        source: of images; see ``profile.profile``.
        inventory: the file; None: the user's own.
        precisions: of estimates; empty: as the files say.
        power_mode: of estimates; None: the highest clocks of any.
        calibrate: records of past measurements, or folders with one.
    """

    models: tuple[Path, ...]
    devices: tuple[str, ...]
    batches: tuple[int, ...] = (1,)
    spec: specs.Profile = field(default_factory=specs.Profile)
    against: Path | None = None
    source: str | None = None
    inventory: Path | None = None
    precisions: tuple[Precision, ...] = ()
    power_mode: str | None = None
    calibrate: tuple[Path, ...] = ()

    def kind(self, device: str) -> Device | None:
        """Return the facts of a bare kind of board; None: it can be reached."""
        return inventory.kind_of_board(device, self.inventory)

    def is_one_estimate(self) -> bool:
        """Say whether one number is asked for, and no device is there to measure it."""
        table = (
            len(self.models) * len(self.devices) * len(self.batches) * len(self.precisions or "x")
        )
        return table == 1 and self.kind(self.devices[0]) is not None

    def is_one_measurement(self) -> bool:
        """Say whether there is one cell, on a device that can be reached."""
        alone = len(self.models) == len(self.devices) == len(self.batches) == 1
        return alone and self.kind(self.devices[0]) is None

    def check(self) -> None:
        """Refuse what the devices have no use for.

        Raises:
            UsageError: options of estimates where all is measured, or the reverse.
        """
        estimated = [name for name in self.devices if self.kind(name) is not None]
        only = {"--precision": self.precisions, "--power-mode": self.power_mode,
                "--calibrate": self.calibrate}  # fmt: skip
        for option, value in only.items():
            if value and not estimated:
                raise UsageError(
                    f"{option} is for estimates, but {', '.join(self.devices)} can be measured: a "
                    "file has one precision, and a board the mode that it is in"
                )
        if self.is_one_measurement():
            return
        if len(estimated) == len(self.devices):
            self._check_estimates()
        for model in (*self.models, *_given(self.against)):
            if not model.is_file():
                raise UsageError(f"there is no file '{model}'")
            if estimated and model.suffix != ".onnx":
                raise UsageError(f"'{model}' is no .onnx file: '{estimated[0]}' needs one")

    def _check_estimates(self) -> None:
        if self.against is not None:
            raise UsageError("an estimate has no turns to take: give --against as another MODEL")
        only = {"--data": self.source, "--energy": self.spec.energy, "--confirm": self.spec.confirm,
                "--streams": self.spec.streams > 1, "--builds": self.spec.builds > 1}  # fmt: skip
        for option, value in only.items():
            if value:
                raise UsageError(
                    f"{option} needs a device that can be reached, but '{self.devices[0]}' is a "
                    "kind of board: name an entry of the inventory, or leave it out for an estimate"
                )


def estimate_one(job: Job, out: Path) -> Estimate:
    """Estimate one latency and write its record.

    Args:
        job: asks for one.
        out: the record to write (.json), or a folder for it.
    """
    job.check()
    (device,), (model,), (batch,) = job.devices, job.models, job.batches
    precision = next(iter(job.precisions), None)
    file = out if out.suffix == ".json" else out / FILE
    files.check_place(file)
    found = _estimate(job, device, model, batch, precision)
    records.write(found, file)
    return found


def run(job: Job, out: Path, *, resume: bool = False, progress: Progress | None = None) -> Fleet:
    """Fill the table of devices, models, batches and, of estimates, precisions.

    Args:
        job: what to do.
        out: a folder; gets ``fleet.json`` and a folder for each cell.
        resume: keep what an earlier command has finished there.
        progress: who is told how far it is; None: nobody.

    Raises:
        UsageError: the options do not fit the devices, or a device is unknown.
        RecordError: a measurement to calibrate with cannot be read.
    """
    job.check()
    if out.suffix == ".json":
        raise UsageError(f"several cells need a folder, but --out is the file '{out}'")
    cells = dict(_cells(job))

    def work(cell: Cell, folder: Path) -> Row:
        device = job.kind(cell.device)
        done = _measured if device is None else _estimated
        return done(job, cell, cells[cell], folder, out)

    return fleet.run(
        list(cells), work, out, resume=resume, pauses_s=fleet.PAUSES_S, progress=progress
    )


def _cells(job: Job) -> list[tuple[Cell, Path]]:
    found = []
    hashes = {path: files.sha256_of(path) for path in (*job.models, *_given(job.against))}
    shared: dict[str, Any] = {
        "edgekd": __version__,
        "spec": job.spec.model_dump(mode="json", exclude={"device", "batch"}),  # the cell's own
        "against": job.against and hashes[job.against],
        "source": job.source,
    }
    for name, model, batch in product(job.devices, job.models, job.batches):
        kind = job.kind(name)
        place = None if kind is not None else inventory.usable(name, job.inventory)
        mine = shared | {"device": name, "model": hashes[model], "batch": batch}
        if kind is None:
            assert place is not None
            lane = _HERE if isinstance(place.reach, Local) else name
            mine |= {"kind": place.device.model_dump(mode="json"), "way": place.way}
            found.append((Cell(name, str(model), batch, _key(mine), lane), model))
            continue
        for precision in job.precisions or (None,):
            mine |= {"kind": kind.model_dump(mode="json"), "precision": precision}
            mine |= {"mode": job.power_mode}
            mine |= {"known": [files.sha256_of(past.record_of(path)) for path in job.calibrate]}
            found.append((Cell(name, str(model), batch, _key(mine), _HERE, precision), model))
    return found


def _measured(job: Job, cell: Cell, model: Path, folder: Path, out: Path) -> Row:
    spec = job.spec.model_copy(update={"device": cell.device, "batch": cell.batch})
    found = profile.profile(
        model, job.against, spec, folder, progress=Silent(), fleet=job.inventory, source=job.source
    ).measurement
    doubts = found.doubts
    p50 = found.timings[-1].p50_ms
    row = _row(cell, "inconclusive" if doubts else "measured").model_copy(
        update={
            "power_mode": found.power_mode,
            "precision": _precision(model, cell.batch),
            "low_ms": p50.low,
            "p50_ms": p50.value,
            "high_ms": p50.high,
            "reason": "; ".join(doubts),
            "exit_status": 3 if doubts else 0,
        }
    )
    return fleet.sealed(row, folder / "measurement.json", out)


def _estimated(job: Job, cell: Cell, model: Path, folder: Path, out: Path) -> Row:
    found = _estimate(job, cell.device, model, cell.batch, cell.precision)
    records.write(found, folder / FILE)
    row = _row(cell, "estimated").model_copy(
        update={
            "power_mode": found.power_mode,
            "precision": cell.precision or _precision(model, cell.batch),
            "low_ms": found.p50_ms.low,
            "high_ms": found.p50_ms.high,
        }
    )
    return fleet.sealed(row, folder / FILE, out)


def _row(cell: Cell, state: str) -> Row:
    return Row.model_validate(
        {"device": cell.device, "model": cell.model, "batch": cell.batch, "key": cell.key,
         "state": state}
    )  # fmt: skip


def _estimate(
    job: Job, name: str, model: Path, batch: int, precision: Precision | None
) -> Estimate:
    device = job.kind(name)
    assert device is not None, "places are measured"
    known = past.known(job.calibrate, name, device, job.power_mode, job.inventory)
    wishes = Wishes(batch, precision, job.power_mode)
    return estimate.estimate(model, name, device, wishes, known)


def _precision(model: Path, batch: int) -> str | None:
    """Return the precision of most of a file's arithmetic; None: it is an engine, or not known."""
    try:
        return kernels.main_precision(model, batch) if model.suffix == ".onnx" else None
    except (UsageError, LookupError, ValueError) as error:  # a remark must not cost a measurement
        log.warning("the precision of '%s' is left out: %s", model, error)
        return None


def _given(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)


def _key(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
