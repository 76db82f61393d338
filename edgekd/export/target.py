"""Export targets: what to write, and for which engine. One TOML file each, in ``export/``."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edgekd.core import catalogue, checking
from edgekd.core.checking import Spec
from edgekd.core.errors import UsageError
from edgekd.core.specs import Count, Positive

HALF_SCALES = 19  # the first opset whose Q and DQ take them
Engine = Literal["onnxruntime", "tensorrt"]


class Quantise(Spec):
    """What is quantised, and how finely."""

    weight_bits: Literal[7, 8] = 8  # 7: two products never overflow 16 bits, see forms/onnxruntime
    small_layers: Literal["int8", "float"] = "int8"  # float: those that gain nothing on a GPU
    last_linear: bool = True  # False: the layer that makes the logits stays float
    keep_float: tuple[str, ...] = ()  # globs of module names that stay float


class Target(Spec):
    """A kind of artifact."""

    name: str
    description: str = ""
    precision: Literal["fp32", "fp16", "int8"]
    form: Engine | None = None  # int8: whose rules the placement of Q/DQ follows
    rest: Literal["fp32", "fp16"] = "fp32"  # int8: what the other layers compute in
    opset: Annotated[int, Field(ge=13, le=23)]  # 13: the first with scales for each channel
    batch: Literal["dynamic"] | Count = "dynamic"
    profile: tuple[Count, Count, Count] = (1, 8, 32)  # dynamic: fewest, usual, most for TensorRT
    dla: bool = False  # made for the deep learning accelerator
    tolerance: Positive  # parity: largest logit error / standard deviation of the logits
    file: Annotated[str, Field(pattern=r"^[\w.-]+\.onnx$")] = "model.onnx"
    runs_on: tuple[Engine, ...] = ("onnxruntime",)  # the first is the one that it is made for
    quantise: Quantise = Quantise()

    @field_validator("batch", mode="before")
    @classmethod
    def _batch_is_one(cls, batch: object) -> object:
        whole = isinstance(batch, int) and not isinstance(batch, bool) and batch >= 1
        if batch != "dynamic" and not whole:
            bounds = "'dynamic' with profile = [fewest, usual, most]"
            raise ValueError(f"{batch!r} is no batch: write a number from 1 on, or {bounds}")
        return batch

    @model_validator(mode="after")
    def _form_fits_precision(self) -> "Target":
        if (self.precision == "int8") != (self.form is not None):
            raise ValueError("form must be given with precision 'int8', and with no other")
        if self.rest == "fp16" and (self.form != "tensorrt" or self.opset < HALF_SCALES):
            raise ValueError(
                f"rest = 'fp16' needs form = 'tensorrt' and opset >= {HALF_SCALES}, "
                "the first with FP16 scales"
            )
        if self.dla and (self.batch == "dynamic" or self.precision != "fp16"):
            raise ValueError("dla needs precision 'fp16' and a fixed batch")
        if list(self.profile) != sorted(self.profile):
            raise ValueError("profile is fewest, usual and most images, in this order")
        return self

    @classmethod
    def read(cls, name: str) -> "Target":
        """Read a built-in target, or the user's own ``.toml`` file; its stem is its name.

        Raises:
            UsageError: there is none, or a key or value is wrong.
        """
        stem = catalogue.locate("export", name).stem
        tree = {"name": stem, **catalogue.read("export", name)}
        return checking.checked(cls, tree, f"export target '{name}'")

    def at_batch(self, text: str) -> "Target":
        """Return the target with "8", "dynamic", or the bounds "1:8:32" of a dynamic batch.

        Raises:
            UsageError: it is none of them, or the target takes no dynamic batch.
        """
        parts = text.split(":")
        tree = self.model_dump()
        counts = all(part.isascii() and part.isdigit() and int(part) for part in parts)
        if counts and len(parts) in {1, 3}:
            numbers = tuple(int(part) for part in parts)
            fixed = {"batch": numbers[0]}
            tree |= fixed if len(parts) == 1 else {"batch": "dynamic", "profile": numbers}
        elif text == "dynamic":
            tree["batch"] = "dynamic"
        else:
            raise UsageError(
                f"'{text}' is no batch: write a number from 1 on, 'dynamic', or fewest:usual:most, "
                "as 1:8:32"
            )
        return checking.checked(Target, tree, f"target '{self.name}' at batch {text}")
