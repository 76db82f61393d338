"""Export targets: what to write, and for which engine. One TOML file each, in ``export/``."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgekd.core import catalogue, checking
from edgekd.core.checking import Spec
from edgekd.core.specs import Count, Positive

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
    opset: Annotated[int, Field(ge=13, le=23)]  # 13: the first with scales for each channel
    batch: Literal["dynamic"] | Count = "dynamic"
    tolerance: Positive  # parity: largest logit error / standard deviation of the logits
    file: Annotated[str, Field(pattern=r"^[\w.-]+\.onnx$")] = "model.onnx"
    runs_on: tuple[Engine, ...] = ("onnxruntime",)  # the first is the one that it is made for
    quantise: Quantise = Quantise()

    @model_validator(mode="after")
    def _form_fits_precision(self) -> "Target":
        if (self.precision == "int8") != (self.form is not None):
            raise ValueError("form must be given with precision 'int8', and with no other")
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
