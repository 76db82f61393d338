"""Write the folder of a run by hand, small and whole, without training anything."""

import functools
import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.core import checking, files, manifest, records, run_folder, specs, statistics
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.evaluate import ladder
from edgekd.gate import rules

CLASSES = 10
BLOCKS, RUNS = 20, 15  # 300 samples: just enough for p99
TEST_SHA256 = "e" * 64  # of the test images
_NORMALISATION = records.Normalisation(mean=(0.5,), std=(0.25,))
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Step:
    """A checkpoint, or a file that was exported from the last one, compared with the teacher."""

    lost: int = 0  # test images that only the teacher has right
    gained: int = 0  # those that only this has right
    bytes: int = 400_000
    latency_ratio: float = 0.5  # of medians, over the teacher's file


CHECKPOINTS = {
    "pruned": Step(lost=700),
    "recalibrated": Step(lost=200, gained=5),
    "classifier": Step(lost=60, gained=6),
    "deep": Step(lost=8, gained=6),
}
ARTIFACTS = {
    "onnx-fp32": Step(lost=8, gained=6, bytes=400_000, latency_ratio=0.5),
    "onnx-int8": Step(lost=11, gained=6, bytes=110_000, latency_ratio=0.4),
}


def make_run(
    folder: Path,
    *,
    images: int = 1000,
    correct: int = 950,
    checkpoints: Mapping[str, Step] = CHECKPOINTS,
    artifacts: Mapping[str, Step] = ARTIFACTS,
    control: Mapping[str, Step] | None = None,
    gate: Mapping[str, object] | None = None,
) -> Path:
    """Write a run's folder as far as the measurement: without ladder, verdict and report.

    Args:
        folder: is made, and returned.
        images: in the test set.
        correct: how many of them the teacher has right.
        checkpoints: the student's, in order; the teacher's comes before them.
        artifacts: the student's files, and rivals; the reference comes before them.
        control: checkpoints of the control arm; nothing is exported from them.
        gate: the recipe's rules.
    """
    steps = {"teacher": Step(), **checkpoints}
    exported = {REFERENCE: Step(bytes=3_400_000, latency_ratio=1.0), **artifacts}
    _write_recipe(folder, gate or {"top1_drop_pp": {"margin": 2.0}})
    for place, name in enumerate(steps):
        write_checkpoint(folder, name, place)
    for place, (name, step) in enumerate(exported.items()):
        origin = "teacher" if run_folder.is_teachers(name) else list(steps)[-1]
        write_artifact(folder, name, step, origin=origin, place=len(steps) + place)
    beside = dict(control or {})
    for place, name in enumerate(beside):
        write_checkpoint(folder, name, len(steps) + place)
    for name, step in {**steps, **exported, **beside}.items():
        write_accuracy(folder, name, step, images=images, correct=correct)
    write_measurement(folder, exported)
    return folder


def read_run(folder: Path, **arguments: Any) -> Run:
    """Make a run with ``make_run`` and read it."""
    return run_folder.read(make_run(folder, **arguments))


def conclude(folder: Path) -> Path:
    """Write the ladder and the verdict of a run that was made by ``make_run``."""
    run = run_folder.read(folder)
    climbed = ladder.ladder(ladder.footholds(run))
    climbed = climbed.model_copy(update={"control": ladder.control(run)})
    records.write(climbed, folder / "ladder.json")
    verdict = rules.judge(specs.gate_of(folder / "recipe.json"), run)
    records.write(verdict, folder / "verdict.json")
    return folder


def seal(folder: Path) -> Path:
    """Write the manifest of a concluded run, whose checkpoints were made one from the other."""
    run = run_folder.read(folder)
    names = list(run.checkpoints)
    for above, name in itertools.pairwise(names):
        path = run_folder.checkpoint(folder, name) / "checkpoint.json"
        change(records.Checkpoint, path, parents=(sha256_of(above),))
        if name in run.trainings:
            path = path.with_name("training.json")
            change(records.Training, path, parents=(sha256_of(above),))
    path = run_folder.measurement(folder) / "measurement.json"
    change(records.Measurement, path, parents=tuple(map(sha256_of, run.artifacts)))
    manifest.seal(folder, "digits", "cpu", 0)
    return folder


def sha256_of(name: str) -> str:
    """Return the SHA-256 of the weights or the file of this name; its content is the name."""
    return hashlib.sha256(name.encode()).hexdigest()


def change(kind: type[records.R], path: Path, **changes: object) -> None:
    """Write a record anew with other values in some fields."""
    records.write(records.read(kind, path).model_copy(update=changes), path)


def write_checkpoint(folder: Path, name: str, place: int) -> None:
    """Write ``checkpoints/NAME``: record, a stand-in for the weights, and training if trained."""
    stages: dict[str, Any] = {"teacher": "teacher", "pruned": "pruned"}
    stages["recalibrated"] = "recalibrated"
    where = run_folder.checkpoint(folder, name)
    files.write_bytes(where / "model.safetensors", name.encode())
    record = records.Checkpoint(
        provenance=_provenance(place),
        stage=stages.get(name, "distilled"),
        model="digits_resnet",
        classes=CLASSES,
        class_names=tuple(str(digit) for digit in range(CLASSES)),
        input_shape=(1, 8, 8),
        normalisation=_NORMALISATION,
        weights_sha256=sha256_of(name),
        parameters=850_000 if name == "teacher" else 100_000,
        macs=1_000_000 if name == "teacher" else 330_000,
        data=records.DataIdentity(
            source="digits",
            sha256={"train": "a" * 64, "validation": "b" * 64, "test": TEST_SHA256},
            images={"train": 900, "validation": 100, "test": 1000},
        ),
        validation_top1_percent=96.0,
    )
    records.write(record, where / "checkpoint.json")
    if record.stage == "distilled":
        records.write(_training(name, place), where / "training.json")


def write_artifact(folder: Path, name: str, step: Step, *, origin: str, place: int) -> None:
    """Write ``artifacts/NAME``: record and a stand-in for the model file."""
    where = run_folder.artifact(folder, name)
    files.write_bytes(where / "model.onnx", name.encode())
    record = records.Artifact(
        provenance=_provenance(place),
        parents=(sha256_of(origin),),
        target=name.removeprefix("teacher-"),
        file="model.onnx",
        sha256=sha256_of(name),
        bytes=step.bytes,
        opset=17,
        input_shape=(1, 8, 8),
        batch=1,
        normalisation=_NORMALISATION,
        classes=CLASSES,
        quantised_layers=12 if "int8" in name else 0,
        float_layers=0 if "int8" in name else 12,
        calibration="entropy on 512 training images" if "int8" in name else None,
        parity=records.Parity(
            images=64,
            max_error=0.01,
            relative_error=0.002,
            cosine=0.9999,
            top1_agreement_ratio=1.0,
            tolerance=0.1,
            state="passed",
        ),
    )
    records.write(record, where / "artifact.json")


def write_engine(folder: Path, name: str, step: Step) -> None:
    """Write the engine of ``artifacts/NAME``: record, a stand-in for the plan, and accuracy."""
    where, engine = run_folder.artifact(folder, name), run_folder.engine(name)
    files.write_bytes(where / "model.plan", engine.encode())
    parity = records.read(records.Artifact, where / "artifact.json").parity
    record = records.BuiltEngine(
        provenance=_provenance(52),
        parents=(sha256_of(name),),
        file="model.plan",
        bytes=step.bytes,
        parity=records.EngineParity(
            device="line-3",
            engine="tensorrt 10.3.0",
            plan_sha256=sha256_of(engine),
            to_checkpoint=parity,
            to_file=parity,
        ),
    )
    records.write(record, where / "engine.json")
    write_accuracy(folder, engine, step, images=1000, correct=950)


def write_accuracy(folder: Path, name: str, step: Step, *, images: int, correct: int) -> None:
    """Write ``accuracy/NAME``: the teacher has the first images right, and the step loses the
    first of those and gains the last of the others."""
    labels_n = np.arange(images) % CLASSES
    right_n = np.arange(images) < correct
    right_n[: step.lost] = False
    right_n[images - step.gained :] = True
    wrong_n = (labels_n + 1) % CLASSES
    path = run_folder.accuracy(folder, name)
    write_predictions(path.with_suffix(".npz"), labels_n, np.where(right_n, labels_n, wrong_n))
    count = int(right_n.sum())
    top1 = statistics.wilson(count, images)
    record = records.Accuracy(
        provenance=_provenance(50),
        parents=(sha256_of(name),),
        subject=name,
        subject_sha256=sha256_of(name),
        device="host-cpu",
        split="test",
        images=images,
        images_sha256=TEST_SHA256,
        correct=count,
        top1_percent=records.Interval(
            value=100 * top1.value, low=100 * top1.low, high=100 * top1.high, confidence=0.95
        ),
        top5_percent=99.5,
        predictions_file=f"{name}.npz",
        predictions_sha256=files.sha256_of(path.with_suffix(".npz")),
    )
    records.write(record, path)


def write_predictions(path: Path, labels_n: np.ndarray, predictions_n: np.ndarray) -> None:
    """Write the file beside an accuracy record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, labels=labels_n, predictions=predictions_n)


def write_measurement(folder: Path, exported: Mapping[str, Step]) -> None:
    """Write ``profile``: latencies around 1 ms times each step's ratio, with 2 % of noise."""
    where = run_folder.measurement(folder)
    where.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        name: _samples_ms(step.latency_ratio, place)
        for place, (name, step) in enumerate(exported.items())
    }
    np.savez(where / "samples.npz", **arrays)
    record = records.Measurement(
        provenance=_provenance(51),
        device="host-cpu",
        machine="Test processor, 2 cores",
        engine="onnxruntime 1.31.1, CPUExecutionProvider",
        batch=1,
        threads=1,
        timings=tuple(
            _timing(name, step.latency_ratio, place)
            for place, (name, step) in enumerate(exported.items())
        ),
        samples_file="samples.npz",
        samples_sha256=files.sha256_of(where / "samples.npz"),
        foreign_load_ratio=0.01,
    )
    records.write(record, where / "measurement.json")


def _write_recipe(folder: Path, gate: Mapping[str, object]) -> None:
    recipe = checking.checked(
        specs.Recipe,
        {
            "description": "made by hand",
            "teacher": {"model": "digits_resnet", "train": {"epochs": 1, "learning_rate": 0.1}},
            "data": {"source": "digits"},
            "student": {"prune": {"macs": 0.33}},
            "gate": gate,
        },
        "recipe",
    )
    files.write_text(folder / "recipe.json", recipe.model_dump_json(indent=2) + "\n")


def _samples_ms(ratio: float, place: int) -> np.ndarray:
    return ratio * np.random.default_rng(place).normal(1.0, 0.02, size=(BLOCKS, RUNS))


@functools.cache  # the bootstrap takes 0.1 s, and most runs have the same latencies
def _timing(name: str, ratio: float, place: int) -> records.Timing:
    ms = _samples_ms(ratio, place)
    p50 = statistics.quantile_interval(ms.ravel(), 0.5)
    p90 = statistics.quantile_interval(ms.ravel(), 0.9)
    assert p50 is not None
    assert p90 is not None
    return records.Timing(
        subject=name,
        sha256=sha256_of(name),
        runs=ms.size,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=statistics.quantile_interval(ms.ravel(), 0.99),
        ratio_to_first=statistics.ratio_of_medians(_samples_ms(1.0, 0), ms) if place else None,
        drift_ratio=1.001,
        load_ms=12.0,
        cold_ms=3.0,
        peak_memory_mib=48.0,
    )


def _training(name: str, place: int) -> records.Training:
    return records.Training(
        provenance=_provenance(place),
        stage=name,
        epochs=tuple(
            records.Epoch(
                epoch=epoch,
                learning_rate=0.02 / epoch,
                terms={"ce": 1.0 / epoch, "kd": 0.5 / epoch},
                weights={"ce": 1.0, "kd": 0.25},
                gradient_norms={"ce": 0.2, "kd": 0.3},
                validation_top1_percent=90.0 + epoch,
                train_seconds=1.5,
                images_per_s=600.0,
                early_backbone_norm=6.0 if epoch == 1 else None,
                backbone_norm=2.0,
                feature_drift=0.25 if epoch == 1 else None,
            )
            for epoch in (1, 2, 3)
        ),
        best_epoch=3,
        notes=("compile off: the run is too short",),
    )


def _provenance(place: int) -> records.Provenance:
    """Return one that is the later, the larger ``place``: runs are read in this order."""
    return records.Provenance(
        made_at=_START + timedelta(minutes=place),
        command=("edgekd", "run", "digits"),
        versions={"edgekd": "0.1.0", "python": "3.11.0"},
        machine="Test processor, 2 cores",
        seed=0,
    )
