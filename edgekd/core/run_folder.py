"""The layout of a run's folder, and how to read it. Needs neither torch nor onnx.

    recipe.json
    checkpoints/NAME/   checkpoint.json  model.safetensors  [surgery.json]  [training.json]
    artifacts/SUBJECT/  artifact.json  model.onnx  [model.plan  model.plan.json  engine.json]
    accuracy/           SUBJECT.json  SUBJECT.npz
    profile/            measurement.json  samples.npz
    [layers/SUBJECT/]   measurement.json  layers.json
    [sensitivity/]      sensitivity.json
    [landscape/]        landscape.json
    ladder.json  examples.json  verdict.json  report.html  log.txt  manifest.json

Checkpoints are called "teacher", "pruned" (before its BN statistics are taken anew),
"recalibrated", then like the stages. The teacher's artifact is "teacher-onnx-fp32"; the student's
are called like their targets. What else is called "teacher-TARGET" is a rival of the student: the
teacher at a target of the student's. No rule is about it unless it is named there.

A file for TensorRT that was measured on a board has its engine beside it, and the engine has an
accuracy of its own, "SUBJECT-engine".

What else is in brackets is there when somebody asked for it: ``edgekd profile FILE --layers --out
RUN/layers/SUBJECT``, ``edgekd sensitivity CHECKPOINT --out RUN/sensitivity``, and ``edgekd
landscape`` likewise.

The same student taught by the labels alone is "control"; on the way there, "control-STAGE".
"""

from dataclasses import dataclass, field
from pathlib import Path

from edgekd.core import examples, records
from edgekd.core.errors import RecordError
from edgekd.core.examples import Examples
from edgekd.core.landscape import Landscape
from edgekd.core.sensitivity import Sensitivity

LEDGER = "ledger.json"  # what the run has done so far, by step
REFERENCE = "teacher-onnx-fp32"  # what latency and size are compared with
CONTROL = "control"  # what distilling is compared with
_TEACHERS = "teacher-"  # before the target of an artifact of the teacher's


@dataclass(frozen=True)
class Run:
    """All records of a run, in the order of the ladder; what is not there yet is missing."""

    folder: Path
    checkpoints: dict[str, records.Checkpoint]
    trainings: dict[str, records.Training]
    artifacts: dict[str, records.Artifact]
    accuracies: dict[str, records.Accuracy]
    measurement: records.Measurement | None
    ladder: records.Ladder | None
    verdict: records.Verdict | None
    examples: Examples | None = None
    sensitivity: Sensitivity | None = None
    landscape: Landscape | None = None
    engines: dict[str, records.BuiltEngine] = field(default_factory=dict)  # by the artifact's name

    @property
    def students(self) -> list[str]:
        """Name the student's artifacts, in the order of their making."""
        return [name for name in self.artifacts if not is_teachers(name)]

    def shipped(self, artifact: str) -> str:
        """Return whose accuracy counts for an artifact: its engine's, if the board ran one."""
        return engine(artifact) if artifact in self.engines else artifact


def checkpoint(run: Path, name: str) -> Path:
    """Return the folder of a checkpoint."""
    return run / "checkpoints" / name


def artifact(run: Path, subject: str) -> Path:
    """Return the folder of an artifact."""
    return run / "artifacts" / subject


def engine(subject: str) -> str:
    """Return how the engine of an artifact is called."""
    return f"{subject}-engine"


def accuracy(run: Path, subject: str) -> Path:
    """Return the file of an accuracy record."""
    return run / "accuracy" / f"{subject}.json"


def measurement(run: Path) -> Path:
    """Return the folder of the latency measurement."""
    return run / "profile"


def layers(run: Path) -> Path:
    """Return the folder of the times of files' layers, one folder each."""
    return run / "layers"


def rival(target: str) -> str:
    """Return how the teacher is called at a target of the student's."""
    return f"{_TEACHERS}{target}"


def is_teachers(artifact: str) -> bool:
    """Say whether an artifact is the teacher's: the reference, or a rival of the student."""
    return artifact.startswith(_TEACHERS)


def is_control(name: str) -> bool:
    """Say whether a checkpoint stands beside the ladder: taught by the labels alone."""
    return name == CONTROL or name.startswith(f"{CONTROL}-")


def read(run: Path) -> Run:
    """Read every record of a run's folder.

    Raises:
        RecordError: it is no run's folder, or a record in it is damaged.
    """
    if not (run / "recipe.json").is_file():
        raise RecordError(f"'{run}' is not a run's folder: it has no 'recipe.json'")
    order = _order(run)
    accuracies = [_accuracy(path) for path in sorted((run / "accuracy").glob("*.json"))]
    return Run(
        folder=run,
        checkpoints=_named(run, "checkpoints/*/checkpoint.json", records.Checkpoint, order),
        trainings=_named(run, "checkpoints/*/training.json", records.Training, order),
        artifacts=_named(run, "artifacts/*/artifact.json", records.Artifact, order),
        accuracies={found.subject: found for found in sorted(accuracies, key=_made_at)},
        measurement=_optional(measurement(run) / "measurement.json", records.Measurement),
        ladder=_optional(run / "ladder.json", records.Ladder),
        verdict=_optional(run / "verdict.json", records.Verdict),
        examples=_optional(run / examples.FILE, Examples),
        sensitivity=_optional(run / "sensitivity" / "sensitivity.json", Sensitivity),
        landscape=_optional(run / "landscape" / "landscape.json", Landscape),
        engines=_named(run, "artifacts/*/engine.json", records.BuiltEngine, order),
    )


def _accuracy(path: Path) -> records.Accuracy:
    found = records.read(records.Accuracy, path)
    if path.stem != found.subject:  # else a copy could speak for the model that it names
        raise RecordError(
            f"'{path}' is about '{found.subject}', whose accuracy lies in '{found.subject}.json': "
            "remove it, or finish the run with --resume"
        )
    return found


def _named(
    run: Path, pattern: str, kind: type[records.R], order: dict[str, int]
) -> dict[str, records.R]:
    paths = sorted(run.glob(pattern))  # so that equal times have an order, too
    found = {path: records.read(kind, path) for path in paths}

    def place(path: Path) -> tuple[int, str]:
        return order.get(str(path.relative_to(run)), len(order)), _made_at(found[path])

    return {path.parent.name: found[path] for path in sorted(paths, key=place)}


def _order(run: Path) -> dict[str, int]:
    """Return when each file was first due, by the ledger: what is made again keeps its place."""
    ledger = _optional(run / LEDGER, records.Ledger)
    steps = () if ledger is None else ledger.steps
    return {path: number for number, step in enumerate(steps) for path in step.outputs}


def _optional(path: Path, kind: type[records.R]) -> records.R | None:
    return records.read(kind, path) if path.exists() else None


def _made_at(record: records.Record) -> str:
    return record.provenance.made_at.isoformat()
