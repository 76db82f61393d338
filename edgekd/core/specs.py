"""What people write: recipes. Unknown keys and wrong types are refused, with a hint.

Defaults live here and nowhere else. ``macs`` is always the share of multiply-accumulates that is
LEFT. Times are in epochs, learning rates without unit, margins in percentage points (pp).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from edgekd.core import catalogue, recipe_files, rules
from edgekd.core.checking import Spec, checked
from edgekd.core.errors import UsageError

_FEWEST_SAMPLES = 29  # for an upper bound on the 90th percentile at 95 %

Ratio = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Bits = Literal[1, 2, 4, 8, 32]
Augment = Literal["none", "auto", "shift", "crop-flip", "resized-crop"]
Gate = rules.Gate
AccuracyRule = rules.AccuracyRule


class MethodUse(Spec):
    """One distillation method in a stage."""

    name: str
    weight: NotNegative = 1.0  # factor on the sum of the method's terms
    options: dict[str, JsonValue] = Field(default={})  # the method's own arguments


class Prune(Spec):
    """Structural channel pruning."""

    criterion: str = "l1"
    macs: Ratio = 0.5  # share of the MACs that is left
    round_to: Count = 8  # channels stay a multiple of it
    scope: Literal["all", "interior"] = "all"  # interior: no channel that a residual add crosses
    spread: Literal["uniform", "global"] = "uniform"  # global: one ranking over all layers
    rounds: Count = 1  # prune in so many equal steps
    max_ratio: Ratio = 0.9  # no layer loses a larger share of its channels
    keep: tuple[str, ...] = ()  # globs of module names that are left alone
    recalibrate_images: Annotated[int, Field(ge=0)] = 4096  # BN statistics anew; 0: not at all


class Stage(Spec):
    """One stretch of training with one objective: ce * CE + sum of weight * method."""

    name: str | None = None  # for people; default: "stage-1", "stage-2" ...
    epochs: Annotated[int, Field(ge=0)]
    learning_rate: Positive  # peak; linear warm-up to it, then a cosine to 0
    warmup_epochs: NotNegative = 1.0
    trainable: Literal["all", "classifier"] = "all"  # classifier: the last linear layer alone
    methods: tuple[MethodUse, ...] = ()
    ce: NotNegative = 1.0  # weight of the cross-entropy with the labels
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    labels: bool = True  # false: none is read, and agreement with the teacher chooses the epoch
    balance: Literal["none", "gradient-norm", "loss-rate"] = "none"  # what the weights mean
    teacher: Literal["online", "cached", "adaptive"] = "online"  # cached: FP16 logits, taken once
    views: Count = 8  # cached: how many augmented views of each image are kept
    teacher_rate: NotNegative = 0.1  # adaptive: the teacher's learning rate, as a share
    learner: Literal["student", "teacher"] = "student"  # who learns; the other one teaches
    prune: Prune | None = None  # cut the student before this stage
    optimiser: Literal["sgd", "adamw"] = "sgd"  # sgd: Nesterov
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 5e-4  # never on BN, biases and other vectors
    backbone_rate: NotNegative = 1.0  # learning rate of all but the classifier, as a share
    clip_norm: Positive | None = 5.0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay per step of the averaged weights
    batch_norm: Literal["train", "frozen"] = "train"  # frozen: the stored statistics are used

    @model_validator(mode="after")
    def _no_labels_means_none(self) -> "Stage":
        if not self.labels and self.ce > 0:
            raise ValueError("labels = false leaves cross-entropy nothing to read: set ce = 0")
        return self


class Teacher(Spec):
    """The trained network to be compressed and learnt from."""

    model: str  # "cifar_resnet56", "torchvision:resnet18", "package.module:factory", a checkpoint
    weights: Path | None = None  # .safetensors, .pt or .pth; none: random, so it must be trained
    classes: Count | None = None  # of the weights; if the data has others, train a new classifier
    mean: tuple[float, ...] | None = None  # per channel, pixels in [0, 1]; None: the family's
    std: tuple[float, ...] | None = None
    expected_top1_percent: Annotated[float, Field(gt=0, le=100)] | None = None  # of its makers
    train: Stage | None = None  # train it, or adapt it to the data, before it teaches

    @model_validator(mode="after")
    def _trains_alone(self) -> "Teacher":
        train = self.train
        if train is not None and (train.prune or train.learner != "student" or train.methods):
            raise ValueError(
                "[teacher.train] has nobody to learn from and nothing to cut: leave methods, "
                "learner and prune out, and give ce and epochs"
            )
        return self


class Quantize(Spec):
    """Simulated quantisation: weights and activations take few values, gradients pass through.

    Bits: 1 (two values), 2 (three values for weights: ternary), 4, 8, or 32: left in float.
    """

    weights: Bits = 8
    activations: Bits = 8  # the inputs of convolutions and linear layers
    edges: Bits | None = 8  # least bits of the first convolution and of the classifier
    rule: Literal["edgekd", "faqd"] = "edgekd"  # faqd: the quantisers of its published code
    keep: tuple[str, ...] = ()  # globs of module names that stay in float
    target: str | None = None  # whose INT8 is simulated at 8 bits; None: the first in [export]
    calibrator: str | None = None  # of first 8-bit steps; None: least squared error, at any bits
    calibration_images: Count = 512  # training images, for the first steps of the activations
    recalibrate_images: Annotated[int, Field(ge=0)] = 4096  # BN statistics anew below 8 bits; 0: no


class Student(Spec):
    """What becomes of the teacher, or another architecture."""

    prune: Prune | None = None
    quantize: Quantize | None = None  # after pruning, before the stages
    model: str | None = None  # None: the teacher's own architecture, starting from its weights
    weights: Path | None = None
    mean: tuple[float, ...] | None = None  # as in [teacher]
    std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "Student":
        if self.prune is not None and self.model is not None:
            raise ValueError(
                "the student is cut from the teacher ([student.prune]) or is another network "
                "(student.model), not both; cut it beforehand with `edgekd prune`"
            )
        return self


class Data(Spec):
    """Images and how they are varied in training."""

    source: str  # "digits", "cifar10:DIR", "folder:DIR", "pack:FILE.npz", "package.module:build"
    image_size: Count | None = None  # pixels; None: as they are (folder: 224)
    augment: Augment = "none"  # auto: shift grey images, crop-flip below 64 pixels, resized-crop
    batch_size: Count = 128
    validation_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.1  # cut from the training images
    train_images: Count | None = None  # use only so many, drawn class by class


class Training(Spec):
    """Where and how the arithmetic is done."""

    device: str = "auto"  # "cpu", "cuda", "cuda:1"; auto: cuda if there is one
    amp: Literal["auto", "off", "bf16"] = "auto"  # auto: bf16 where the hardware computes in it
    compile: Literal["auto", "off", "on"] = "auto"  # auto: if a compiler is found and it pays
    deterministic: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Export(Spec):
    """Which files to write."""

    targets: tuple[str, ...] = ("onnx-fp32", "onnx-int8")
    platform: str | None = None  # JetPack of the board, such as "jp6.2"; shapes TensorRT's targets
    calibrator: str = "entropy"
    calibration_images: Count = 512  # from the training images
    rivals: bool = False  # the teacher at the INT8 and FP16 targets, too: is the student worth it?


class Profile(Spec):
    """How to measure latency."""

    device: str = "host-cpu"
    batch: Count = 1
    threads: Count = 1
    blocks: Annotated[int, Field(ge=6)] = 20  # teacher and students take turns, block by block
    runs: Count = 30  # timed inferences in a block; blocks * runs >= 29
    scenario: Literal["single", "multi", "offline"] = "single"  # what counts: latency, throughput
    streams: Count = 1  # inferences at once
    builds: Count = 1  # engines built from each file; the slowest is what is reported
    confirm: bool = False  # measure twice, and doubt what does not come back
    energy: bool = False  # of an inference, too: half a minute for each model

    @model_validator(mode="after")
    def _enough_samples(self) -> "Profile":
        samples = self.blocks * self.runs
        if samples < _FEWEST_SAMPLES:
            raise ValueError(f"p90 needs {_FEWEST_SAMPLES} samples, blocks * runs is {samples}")
        return self

    @model_validator(mode="after")
    def _streams_fit_the_scenario(self) -> "Profile":
        if self.scenario == "single" and self.streams > 1:
            raise ValueError("one stream is scenario 'single'; for more say 'multi' or 'offline'")
        if self.scenario == "multi" and self.streams == 1:
            raise ValueError("scenario 'multi' needs streams = 2 or more")
        if self.energy and (self.streams > 1 or self.builds > 1):
            raise ValueError(
                "energy is that of one stream of one build: leave streams and builds at 1"
            )
        return self


class Recipe(Spec):
    """The whole job."""

    description: str = ""
    teacher: Teacher
    student: Student = Student()
    data: Data
    training: Training = Training()
    stages: tuple[Stage, ...] = ()
    control: bool = False  # teach the same student by labels alone, too: what is distilling worth?
    export: Export = Export()
    profile: Profile = Profile()
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _rules_ask_for_what_a_run_has(self) -> "Recipe":
        later = self.gate.against_baseline()
        if later:
            raise ValueError(
                f"gate.{later[0]} needs a baseline, which a run has not: put it in a file for "
                "`edgekd gate RUN --rules FILE --baselines DIR`"
            )
        if self.gate.energy_per_image_mj is not None and not self.profile.energy:
            raise ValueError("gate.energy_per_image_mj needs profile.energy = true")
        return self

    @model_validator(mode="after")
    def _teacher_has_knowledge(self) -> "Recipe":
        if self.teacher.weights is None and self.teacher.train is None and _is_bare(self.teacher):
            raise ValueError(
                "the teacher has random weights: give teacher.weights (--teacher-weights), or "
                "[teacher.train]"
            )
        return self


def _is_bare(teacher: Teacher) -> bool:
    """A zoo model without weights; a checkpoint folder or a factory brings its own."""
    prefix, colon, _ = teacher.model.partition(":")
    is_factory = bool(colon) and prefix not in {"torchvision", "timm"}
    is_checkpoint = "/" in teacher.model or Path(teacher.model, "checkpoint.json").exists()
    return not is_factory and not is_checkpoint


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``stages.0.epochs=20`` overrides.

    Relative paths (weights, images) in a user's file are taken from the file's own folder; in a
    built-in, and in overrides, from the working directory.

    Raises:
        UsageError: unknown recipe, unknown key, wrong type or value; every fault is listed.
    """
    found = recipe_files.tree(name, overrides)
    if "teacher" not in found and "stages" in found:
        raise UsageError(
            f"recipe '{name}' has stages alone, for `edgekd finetune STUDENT --teacher TEACHER "
            f"--recipe {name}`; a run needs [teacher] and [data], too"
        )
    return parse(found, name)


def gate_of(path: Path) -> Gate:
    """Read the rules of a TOML file with a ``[gate]`` table, or of a run's ``recipe.json``.

    Raises:
        UsageError: it cannot be read, has no gate, or a rule is wrong.
    """
    if path.suffix == ".toml":
        tree = catalogue.read("recipes", str(path))
    else:
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"'{path}' cannot be read as a recipe: {error}") from error
    if not isinstance(tree, dict) or "gate" not in tree:
        raise UsageError(f"'{path}' has no [gate] table")
    return checked(Gate, tree["gate"], str(path))


def parse(tree: dict[str, Any], name: str) -> Recipe:
    """Check a recipe's tree of values.

    Raises:
        UsageError: unknown key, wrong type or value; every fault is listed.
    """
    return checked(Recipe, tree, f"recipe '{name}'")
