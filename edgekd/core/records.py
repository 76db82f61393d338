"""What stages hand over: frozen records, written as JSON beside the files that they describe.

Each names the SHA-256 of its parents, so a verdict can be walked back to the teacher.
Shares are in [0, 1] and called ``ratio``; percentages end in ``_percent``; times in ``_ms``.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgekd.core import files
from edgekd.core.errors import RecordError

Split = Literal["train", "validation", "test"]
State = Literal["passed", "failed", "inconclusive"]
Unit = Literal["pp", "%", "ratio", "ms", "mJ", "per s", "MiB", "sd", "findings"]  # sd: of logits
Scope = Literal["module", "board", "package", "sum of rails"]
R = TypeVar("R", bound="Record")


class Part(BaseModel):
    """A piece of a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(Part):
    """Who made a record, from what, when and where."""

    made_at: datetime
    command: tuple[str, ...]
    versions: dict[str, str]  # of edgekd, Python and the packages that had a part in it
    machine: str  # processor and cores, for people
    seed: int | None = None


class Record(Part):
    """Something that is written to disk as JSON."""

    schema_version: Literal[1] = 1
    provenance: Provenance
    parents: tuple[str, ...] = ()  # SHA-256 of what it was made from


class Interval(Part):
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float
    confidence: float  # two-sided


class Normalisation(Part):
    """pixel in [0, 1] -> (pixel - mean) / std, for each channel (RGB order)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class DataIdentity(Part):
    """Which images were read: source, and SHA-256 over pixels and labels of each split."""

    source: str
    sha256: dict[Split, str]
    images: dict[Split, int]


class Checkpoint(Record):
    """A network's weights: ``model.safetensors`` and, beside it, what was done to its layers."""

    stage: Literal["teacher", "initial", "pruned", "recalibrated", "quantized", "distilled"]
    model: str  # what builds it: "cifar_resnet56", "torchvision:resnet18", "package.module:factory"
    classes: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]  # C, H, W
    normalisation: Normalisation
    weights_sha256: str
    surgery_sha256: str | None = None  # None: the architecture is as the model's name says
    quantisation_sha256: str | None = None  # None: it computes in float
    parameters: int
    macs: int  # multiply-accumulates for one image
    data: DataIdentity | None = None  # the images that choices have read; None: foreign weights
    validation_top1_percent: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return all that its answers depend on, as JSON: weights, cut, shape, normalisation."""
        history = {"provenance", "parents", "stage", "data", "validation_top1_percent"}
        return self.model_dump(mode="json", exclude=history)


class Epoch(Part):
    """One epoch of training."""

    epoch: int  # from 1
    learning_rate: float  # at its end
    terms: dict[str, float]  # mean of each loss term, weighted
    weights: dict[str, float] = {}  # by which each term was multiplied
    losses: tuple[float, ...] = ()  # of each method, weighted, before that factor:
    factors: tuple[float, ...] = ()  # what the stage's balance made of each method's weight
    gradient_norms: dict[str, float]  # of each term at the classifier's input features' layer
    validation_top1_percent: float | None  # None: the stage reads no labels
    validation_agreement_percent: float | None = None  # with the teacher's top-1; None: with labels
    teacher_top1_percent: float | None = None  # of an adaptive teacher, on the same images
    train_seconds: float
    images_per_s: float
    early_backbone_norm: float | None = None  # largest gradient of the stage's first 100 steps
    backbone_norm: float | None = None  # median over the steps; None: the backbone is frozen
    feature_drift: float | None = None  # 1 - CKA of the classifier's inputs; after epoch 1 alone


class Training(Record):
    """How a checkpoint was trained; lies beside it as ``training.json``."""

    stage: str
    epochs: tuple[Epoch, ...]
    best_epoch: int  # chosen on the validation images; 0: the weights at the start
    cache_seconds: float = 0.0  # computing the teacher's logits beforehand
    notes: tuple[str, ...] = ()  # what was decided and why: compile, AMP ...


class Parity(Part):
    """How closely an artifact follows its checkpoint on real images."""

    images: int
    max_error: float  # largest |difference| of logits
    mean_error: float | None = None  # mean |difference|; None: an older record
    relative_error: float  # max_error / standard deviation of the checkpoint's logits
    cosine: float  # the least over the images, logits centred
    top1_agreement_ratio: float
    tolerance: float  # on relative_error
    state: State


class EngineParity(Part):
    """How closely an engine follows, on the board that built it, what it was made from."""

    device: str
    engine: str  # "tensorrt 10.3.0"
    plan_sha256: str
    to_checkpoint: Parity
    to_file: Parity  # the ONNX file, as ONNX Runtime computes it


class Shapes(Part):
    """The sizes of an input, [N, C, H, W], that an engine is built for."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class Artifact(Record):
    """An exported model file."""

    target: str  # "onnx-int8"
    file: str  # its name, in the record's folder
    sha256: str
    bytes: int  # external weight files too
    precision: Literal["fp32", "fp16", "int8"] | None = None  # None: an older record
    opset: int
    ir_version: int | None = None  # of the ONNX file; None: an older record
    platform: str | None = None  # "jp6.2"; None: not made for a certain one
    typing: Literal["weak", "strong"] | None = None  # how that platform builds engines
    input_shape: tuple[int, int, int]
    batch: int
    profiles: dict[str, Shapes] = {}  # input -> its sizes, where the batch is dynamic
    normalisation: Normalisation
    classes: int
    quantised_layers: int = 0  # convolutions and matrix products that compute in INT8
    float_layers: int = 0  # those that do not
    calibration: str | None = None  # "entropy on 512 training images"
    accuracy_valid: bool = True  # False: calibrated on random data
    parity: Parity
    engine_parity: EngineParity | None = None  # None: no engine was built, or none could be run
    notes: tuple[str, ...] = ()  # what stays FP32, what the DLA leaves to the GPU, and why
    golden_sha256: str | None = None  # of golden.npz beside it; None: no real images


class Accuracy(Record):
    """How a model classifies one set of images, image by image."""

    subject: str  # its name on the ladder: "teacher", "onnx-int8"
    subject_sha256: str
    device: str
    split: Split
    images: int
    images_sha256: str  # of the image set: results pair only if these are equal
    correct: int
    top1_percent: Interval  # Wilson
    top5_percent: float | None  # None: fewer than 6 classes
    predictions_file: str  # .npz beside the record: labels, predictions
    predictions_sha256: str


class Build(Part):
    """One of several engines that were built from the same ONNX file, and measured in turns."""

    plan_sha256: str
    plan_bytes: int
    p50_ms: Interval


class Consumption(Part):
    """The electrical energy of one artifact; see ``Energy`` for what was measured."""

    per_image_mj: Interval  # above idle: median over the blocks
    gross_per_image_mj: float  # with what the device takes when idle
    power_mw: float  # median over the blocks while it ran, with what the device takes when idle
    ratio_to_first: Interval | None  # of energies above idle, paired by block; None: the first
    images: int


class Timing(Part):
    """The latency of one artifact."""

    subject: str  # "teacher onnx-fp32", "student onnx-int8"
    sha256: str
    runs: int
    p50_ms: Interval
    p90_ms: Interval
    p95_ms: Interval | None = None  # None: under 59 samples
    p99_ms: Interval | None  # None: under 299 samples
    p999_ms: Interval | None = None  # None: under 2995 samples
    gpu_p50_ms: Interval | None = None  # on the GPU, without copies; None: not on a GPU
    images_per_s: Interval | None = None  # of all streams together; None: an older record
    ratio_to_first: Interval | None  # of medians, paired by block; None: it is the first
    drift_ratio: float  # median of the last third over that of the first
    spread_ratio: float | None = None  # coefficient of variation of the blocks' medians
    load_ms: float  # opening the file
    cold_ms: float  # the first inference
    peak_memory_mib: float  # of the host process, with what a GPU that shares memory maps there
    file_bytes: int | None = None  # of the file that ran; None: an older record
    builds: tuple[Build, ...] = ()  # of the engine; the numbers above are those of one of them
    energy: Consumption | None = None  # None: not measured, or without a result


class Energy(Part):
    """How the energy of a measurement's artifacts was found."""

    missing: str | None = None  # why there is no result; all else is then unknown
    source: str | None = None  # "tegrastats", "ina3221", "hwmon", "rapl"
    rails: tuple[str, ...] = ()  # that were added up
    scope: Scope | None = None  # what they carry together
    interval_ms: float | None = None  # between two readings, median
    idle_mw: tuple[float, float] | None = None  # before and after
    blocks: int = 0  # of each artifact
    fewest_readings: int = 0  # in a block
    doubts: tuple[str, ...] = ()
    readings_file: str | None = None  # .npz beside the record: all readings and stretches
    readings_sha256: str | None = None


class Measurement(Record):
    """An interleaved measurement of several artifacts on one device; the first is the reference."""

    device: str
    machine: str
    engine: str  # "onnxruntime 1.31.1, CPUExecutionProvider"
    power_mode: str | None = None  # of a board, as it names it; None: it has none, or does not say
    batch: int
    threads: int
    scenario: Literal["single", "multi", "offline"] = "single"
    streams: int = 1  # inferences at once
    timings: tuple[Timing, ...]
    samples_file: str  # .npz beside the record: one [blocks, runs] array in ms per artifact
    samples_sha256: str
    foreign_load_ratio: float | None  # share of the processor that others took; None: unknown
    energy: Energy | None = None  # None: not asked for
    noise_ratio: Interval | None = None  # A/A: the first's odd blocks over its even ones
    clocks_locked: bool | None = None  # None: the device does not say
    temperatures_c: tuple[float, float] | None = None  # of the hottest part, before and after
    confirmed: bool | None = None  # by a second measurement; None: there was none
    warnings: tuple[str, ...] = ()  # what makes the numbers doubtful: inconclusive
    notes: tuple[str, ...] = ()  # what to know of them: clocks not locked, too few for p99.9 ...


class Finding(Part):
    """The outcome of one rule for one artifact."""

    rule: str
    artifact: str
    measured: Interval | None
    limit: float
    bound: Literal["at most", "at least"] = "at most"  # how the limit is meant
    unit: Unit
    state: State
    informative: bool
    p_value: float | None = None  # of so bad a measurement, were the truth at the limit
    message: str  # one line for people


class Verdict(Record):
    """The outcome of all rules."""

    findings: tuple[Finding, ...]
    state: State


class Step(Part):
    """A piece of a run that is done."""

    name: str
    key: str  # SHA-256 of all that the result depends on
    outputs: dict[str, str]  # path inside the run's folder -> SHA-256
    seconds: float


class Ledger(Record):
    """What a run has done so far; ``--resume`` keeps each step whose key and outputs still hold."""

    recipe: str  # as it was named on the command line
    steps: tuple[Step, ...] = ()


class Rung(Part):
    """One step of the stage ladder."""

    name: str
    accuracy: Interval  # top-1 in percent
    drop_pp: Interval | None  # below the teacher, paired; None: it is the teacher
    step_p_value: float | None  # exact McNemar against the rung above
    macs: int
    bytes: int


class Control(Part):
    """The same student, taught as long by the labels alone; stands beside the ladder."""

    rung: Rung
    against: str  # the checkpoint that distilling ended with
    gain_pp: Interval  # top-1 of that checkpoint minus the control's, paired


class Ladder(Record):
    """Accuracy after every step, on the same test images."""

    rungs: tuple[Rung, ...]
    blamed: str | None  # the first rung that is significantly worse than the one above
    control: Control | None = None
    doubts: tuple[str, ...] = ()  # what speaks against the teacher or the images, in sentences


def write(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    files.write_text(path, record.model_dump_json(indent=2) + "\n")


def read(kind: type[R], path: Path) -> R:
    """Read a record.

    Raises:
        RecordError: missing, not JSON, of another schema version, or with other fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RecordError(f"there is no {kind.__name__} record '{path}'") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise RecordError(f"'{path}' is not a {kind.__name__} record: {error}") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(step) for step in fault["loc"]) or "file"
        hint = ""
        if place == "schema_version":
            hint = f". It is of schema {fault['input']!r}, of another version of edgekd: make it anew"
        raise RecordError(
            f"'{path}' is not a {kind.__name__} record of schema 1: {place}: {fault['msg']}{hint}"
        ) from error


def check_file(path: Path, sha256: str) -> None:
    """Raise a ``RecordError`` if a file is missing, or not the one that its record describes."""
    if not path.is_file():
        raise RecordError(f"'{path}' is missing, though its record is there")
    found = files.sha256_of(path)
    if found != sha256:
        raise RecordError(
            f"'{path}' was changed after its record was written: its SHA-256 is "
            f"{found[:12]}..., recorded is {sha256[:12]}..."
        )
