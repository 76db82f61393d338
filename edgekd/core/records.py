"""What stages hand over: frozen records, written as JSON beside the files that they describe.

Each names the SHA-256 of its parents, so a verdict can be walked back to the teacher.
Shares are in [0, 1] and called ``ratio``; percentages end in ``_percent``; times in ``_ms``.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from edgekd.core.measured import Build, Consumption, Energy, Measurement, Scope, Timing
from edgekd.core.record import (
    Interval,
    NotNegative,
    Part,
    Provenance,
    R,
    Record,
    check_file,
    read,
    write,
)

# Found here, too: whoever reads records need not know in which file each is defined.
__all__ = [
    "Build", "Consumption", "Energy", "Interval", "Measurement", "Part", "Provenance", "R",
    "Record", "Scope", "Timing", "check_file", "read", "write",
]  # fmt: skip

Split = Literal["train", "validation", "test"]
State = Literal["passed", "failed", "inconclusive"]
Unit = Literal["pp", "%", "ratio", "ms", "mJ", "per s", "MiB", "sd", "findings"]  # sd: of logits


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
    weights: dict[str, float] = Field(default={})  # by which each term was multiplied
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

    images: Annotated[int, Field(ge=1)]
    max_error: NotNegative  # largest |difference| of logits
    mean_error: NotNegative | None = None  # mean |difference|; None: an older record
    relative_error: NotNegative  # max_error / standard deviation of the checkpoint's logits
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
    bytes: Annotated[int, Field(gt=0, lt=2**63)]  # external weight files too
    precision: Literal["fp32", "fp16", "int8"] | None = None  # None: an older record
    opset: int
    ir_version: int | None = None  # of the ONNX file; None: an older record
    platform: str | None = None  # "jp6.2"; None: not made for a certain one
    typing: Literal["weak", "strong"] | None = None  # how that platform builds engines
    input_shape: tuple[int, int, int]
    batch: int
    profiles: dict[str, Shapes] = Field(default={})  # input -> its sizes, of a free batch
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


class BuiltEngine(Record):
    """The engine of an artifact that a run measured on its board: the plan lies beside it."""

    file: str  # its name, in the artifact's folder
    bytes: int
    parity: EngineParity


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
    doubts: tuple[str, ...] = ()  # why its measurement is not believed; the message ends in them


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
