"""A whole run with invented but consistent numbers, as records and files on disk."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from edgekd.core import files, predictions, records, run_folder, statistics
from edgekd.core.run_folder import REFERENCE, Run

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
NORMALISATION = records.Normalisation(mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
SHAPE = (3, 32, 32)
PARITY = {"images": 256, "max_error": 2e-5, "cosine": 0.99999, "tolerance": 1e-3}


@dataclass
class Sample:
    """What a test may want otherwise."""

    class_names: tuple[str, ...] = CLASS_NAMES
    images: int = 2000
    right: dict[str, float] = field(
        default_factory=lambda: {
            "teacher": 0.942, REFERENCE: 0.942, "pruned": 0.118, "recalibrated": 0.713,
            "classifier": 0.804, "deep": 0.936, "onnx-fp32": 0.936, "onnx-int8": 0.931,
        }
    )  # fmt: skip
    p50_ms: dict[str, float] = field(
        default_factory=lambda: {REFERENCE: 4.31, "onnx-fp32": 2.62, "onnx-int8": 1.38}
    )
    blocks: int = 20
    runs: int = 30
    warnings: tuple[str, ...] = ("other programs took 14 % of the processor (limit 10 %)",)
    doubts: tuple[str, ...] = ()
    margin_pp: float = 1.0
    description: str = "CIFAR-10: ResNet-56 at half its MACs, recovered by distillation"


def write(folder: Path, sample: Sample | None = None) -> Run:
    """Write the records of a whole run, and read them back."""
    sample = sample or Sample()
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        "description": sample.description,
        "teacher": {"model": "cifar_resnet56"},
        "data": {"source": "cifar10"},
        "gate": {"top1_drop_pp": {"margin": sample.margin_pp}},
    }
    (folder / "recipe.json").write_text(json.dumps(recipe, indent=2))
    _checkpoints(folder, sample)
    _artifacts(folder)
    correct = _accuracies(folder, sample)
    _measurement(folder, sample)
    _ladder(folder, sample, correct)
    _verdict(folder, sample, correct)
    return run_folder.read(folder)


def stamp(minutes: float, seed: int | None = 7) -> records.Provenance:
    """Return a provenance at some minutes after the run's start."""
    return records.Provenance(
        made_at=START + timedelta(minutes=minutes),
        command=("edgekd", "run", "cifar10-resnet56", "--out", "runs/1"),
        versions={"edgekd": "0.1.0", "python": "3.11.9", "torch": "2.15.0", "numpy": "2.1.0"},
        machine="AMD EPYC 7763, 2 cores, Linux",
        seed=seed,
    )


def sha(text: str) -> str:
    """Return a hash that stands for a file."""
    return files.sha256_of_text(text) if hasattr(files, "sha256_of_text") else _sha(text)


def _sha(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _checkpoints(folder: Path, sample: Sample) -> None:
    stages = {
        "teacher": ("teacher", 855_770, 127_300_000),
        "pruned": ("pruned", 402_114, 62_900_000),
        "recalibrated": ("recalibrated", 402_114, 62_900_000),
        "classifier": ("distilled", 402_114, 62_900_000),
        "deep": ("distilled", 402_114, 62_900_000),
    }
    above: tuple[str, ...] = ()
    for minute, (name, (stage, parameters, macs)) in enumerate(stages.items()):
        place = run_folder.checkpoint(folder, name)
        place.mkdir(parents=True, exist_ok=True)
        made = records.Checkpoint(
            provenance=stamp(minute),
            parents=above,
            stage=stage,
            model="cifar_resnet56",
            classes=len(sample.class_names),
            class_names=sample.class_names,
            input_shape=SHAPE,
            normalisation=NORMALISATION,
            weights_sha256=sha(name),
            surgery_sha256=None if name == "teacher" else sha("surgery"),
            parameters=parameters,
            macs=macs,
            data=records.DataIdentity(
                source="cifar10", sha256={"test": sha("test")}, images={"test": sample.images}
            ),
            validation_top1_percent=100 * sample.right.get(name, 0.5),
        )
        records.write(made, place / "checkpoint.json")
        above = (sha(name),)
    _training(folder, "classifier", epochs=3, terms={"ce": 0.9, "kd": 1.6}, rate=0.02)
    _training(folder, "deep", epochs=24, terms={"ce": 0.6, "kd": 0.8, "fdkd": 2.4}, rate=0.02)


def _training(
    folder: Path, name: str, epochs: int, terms: dict[str, float], rate: float
) -> None:
    random = np.random.default_rng(epochs)
    start, end = (71.3, 80.4) if name == "classifier" else (80.4, 93.6)
    done = []
    for epoch in range(1, epochs + 1):
        gone = epoch / epochs
        decay = 0.25 + 0.75 * np.exp(-3 * gone)
        done.append(
            records.Epoch(
                epoch=epoch,
                learning_rate=float(rate * 0.5 * (1 + np.cos(np.pi * gone))),
                terms={
                    term: float(first * decay * (1 + 0.02 * random.standard_normal()))
                    for term, first in terms.items()
                },
                gradient_norms={term: 0.4 * first for term, first in terms.items()},
                validation_top1_percent=float(
                    start + (end - start) * (1 - np.exp(-4 * gone)) + 0.3 * random.standard_normal()
                ),
                train_seconds=41.2,
                images_per_s=1090.0,
            )
        )
    best = max(done, key=lambda epoch: epoch.validation_top1_percent).epoch
    record = records.Training(
        provenance=stamp(30), stage=name, epochs=tuple(done), best_epoch=best, cache_seconds=12.0,
        notes=("compile: off, for no C++ compiler was found", "AMP: off on a CPU"),
    )  # fmt: skip
    records.write(record, run_folder.checkpoint(folder, name) / "training.json")


def _artifacts(folder: Path) -> None:
    made = {
        REFERENCE: ("teacher", "onnx-fp32", 3_511_211, 0, 57, None),
        "onnx-fp32": ("deep", "onnx-fp32", 1_702_883, 0, 57, None),
        "onnx-int8": ("deep", "onnx-int8", 571_840, 56, 1, "entropy on 512 training images"),
    }
    for minute, (name, (parent, target, size, quantised, floats, how)) in enumerate(made.items()):
        place = run_folder.artifact(folder, name)
        place.mkdir(parents=True, exist_ok=True)
        error = 0.081 if quantised else 1e-6
        tolerance = 0.25 if quantised else 1e-3
        parity = records.Parity(
            **{**PARITY, "tolerance": tolerance}, relative_error=error,
            top1_agreement_ratio=0.98 if quantised else 1.0, state="passed",
        )  # fmt: skip
        record = records.Artifact(
            provenance=stamp(40 + minute), parents=(sha(parent),), target=target, file="model.onnx",
            sha256=sha(f"artifact {name}"), bytes=size, opset=17, input_shape=SHAPE, batch=1,
            normalisation=NORMALISATION, classes=10, quantised_layers=quantised,
            float_layers=floats, calibration=how, parity=parity,
        )  # fmt: skip
        records.write(record, place / "artifact.json")


def _accuracies(folder: Path, sample: Sample) -> dict[str, np.ndarray]:
    (folder / "accuracy").mkdir(exist_ok=True)
    random = np.random.default_rng(1)
    classes = len(sample.class_names)
    labels = random.integers(classes, size=sample.images)
    ease = random.random(sample.images)  # the same images are hard for every model
    correct = {}
    for minute, (name, right) in enumerate(sample.right.items()):
        noisy = ease + 0.01 * random.standard_normal(sample.images) * (minute > 1)
        mine = noisy <= np.quantile(noisy, right)
        wrong = (labels + 1 + (ease * 7919).astype(int) % (classes - 1)) % classes
        guesses = np.where(mine, labels, wrong)
        npz = folder / "accuracy" / f"{name}.npz"
        np.savez_compressed(npz, labels=labels, predictions=guesses)
        correct[name] = mine
        count = int(mine.sum())
        ratio = statistics.wilson(count, sample.images)
        subject = sha(f"artifact {name}") if name in sample.p50_ms else sha(name)
        record = records.Accuracy(
            provenance=stamp(50 + minute), parents=(subject,), subject=name, subject_sha256=subject,
            device="host-cpu", split="test", images=sample.images, images_sha256=sha("test"),
            correct=count, top1_percent=percent(ratio), top5_percent=99.2,
            predictions_file=npz.name, predictions_sha256=files.sha256_of(npz),
        )  # fmt: skip
        records.write(record, run_folder.accuracy(folder, name))
    return correct


def percent(ratio: records.Interval) -> records.Interval:
    """Return an interval of shares in percent."""
    return records.Interval(
        value=100 * ratio.value, low=100 * ratio.low, high=100 * ratio.high,
        confidence=ratio.confidence,
    )  # fmt: skip


def _measurement(folder: Path, sample: Sample) -> None:
    place = run_folder.measurement(folder)
    place.mkdir(exist_ok=True)
    random = np.random.default_rng(2)
    shape = (sample.blocks, sample.runs)
    noise = 1 + 0.004 * random.standard_normal((sample.blocks, 1))
    samples = {
        name: p50 * noise * (1 + 0.02 * random.gamma(1.2, 0.8, shape))
        for name, p50 in sample.p50_ms.items()
    }
    npz = place / "samples.npz"
    np.savez(npz, **samples)
    first = samples[REFERENCE]
    timings = tuple(
        records.Timing(
            subject=name, sha256=sha(f"artifact {name}"), runs=mine.size,
            p50_ms=statistics.quantile_interval(mine.ravel(), 0.5),
            p90_ms=statistics.quantile_interval(mine.ravel(), 0.9),
            p99_ms=statistics.quantile_interval(mine.ravel(), 0.99),
            ratio_to_first=None if name == REFERENCE else statistics.ratio_of_medians(first, mine),
            drift_ratio=1.003, load_ms=18.4, cold_ms=9.1, peak_memory_mib=83.2,
        )
        for name, mine in samples.items()
    )  # fmt: skip
    record = records.Measurement(
        provenance=stamp(60, seed=0), parents=tuple(timing.sha256 for timing in timings),
        device="host-cpu", machine="AMD EPYC 7763, 2 cores, Linux",
        engine="onnxruntime 1.31.1, CPUExecutionProvider", batch=1, threads=1, timings=timings,
        samples_file=npz.name, samples_sha256=files.sha256_of(npz), foreign_load_ratio=0.14,
        warnings=sample.warnings,
    )  # fmt: skip
    records.write(record, place / "measurement.json")


def _ladder(folder: Path, sample: Sample, correct: dict[str, np.ndarray]) -> None:
    run = run_folder.read(folder)
    rungs = []
    above = None
    for name, mine in correct.items():
        drop = None if name == "teacher" else predictions.drop_pp(correct["teacher"], mine, 0.95)
        lost_gained = predictions.discordant(above, mine) if above is not None else None
        artifact = run.artifacts.get(name)
        macs = 127_300_000 if "teacher" in name else 62_900_000
        rungs.append(
            records.Rung(
                name=name, accuracy=run.accuracies[name].top1_percent, drop_pp=drop,
                step_p_value=None if lost_gained is None else statistics.mcnemar_exact(*lost_gained),
                macs=macs, bytes=artifact.bytes if artifact else macs // 40,
            )
        )  # fmt: skip
        above = mine
    record = records.Ladder(
        provenance=stamp(61), parents=(), rungs=tuple(rungs), blamed=None, doubts=sample.doubts
    )
    records.write(record, folder / "ladder.json")


def _verdict(folder: Path, sample: Sample, correct: dict[str, np.ndarray]) -> None:
    run = run_folder.read(folder)
    findings = []
    for name in ("onnx-fp32", "onnx-int8"):
        drop = predictions.drop_pp(correct["teacher"], correct[name], 0.9)
        findings.append(
            _finding("top1_drop_pp", name, drop, sample.margin_pp, "pp", informative=False)
        )
    assert run.measurement is not None
    for timing in run.measurement.timings[1:]:
        findings.append(
            _finding(
                "latency_ratio", timing.subject, timing.ratio_to_first, 1.0, "ratio",
                informative=True,
            )
        )  # fmt: skip
    for name in ("onnx-fp32", "onnx-int8"):
        ratio = run.artifacts[name].bytes / run.artifacts[REFERENCE].bytes
        exact = records.Interval(value=ratio, low=ratio, high=ratio, confidence=1.0)
        findings.append(_finding("size_ratio", name, exact, 1.0, "ratio", informative=False))
    states = [finding.state for finding in findings if not finding.informative]
    state = next(s for s in ("failed", "inconclusive", "passed") if s in states)
    record = records.Verdict(
        provenance=stamp(62), parents=(), findings=tuple(findings), state=state
    )
    records.write(record, folder / "verdict.json")


def _finding(
    rule: str, artifact: str, measured: records.Interval, limit: float, unit: str, *,
    informative: bool,
) -> records.Finding:  # fmt: skip
    state = "passed" if measured.high < limit else "failed" if measured.low > limit else (
        "inconclusive"
    )
    message = (
        f"{artifact}: {rule} {measured.value:.2f} {unit} [{measured.low:.2f}, "
        f"{measured.high:.2f}], limit {limit:g} {unit}"
    )
    return records.Finding(
        rule=rule, artifact=artifact, measured=measured, limit=limit, unit=unit, state=state,
        informative=informative, message=message,
    )  # fmt: skip
