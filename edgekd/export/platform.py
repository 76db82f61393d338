"""Platforms: what a generation of JetPack reads. One TOML file each, in ``profiles/platforms/``."""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.core import catalogue, checking
from edgekd.core.checking import Spec
from edgekd.core.errors import ExportError, UsageError
from edgekd.export.target import Target

Feature = Literal["int8", "fp16-scales", "dla"]
Version = Annotated[str, Field(pattern=r"^\d+\.\d+$")]


class Platform(Spec):
    """A generation of JetPack: its versions, its boards, and the form of a file that it takes."""

    name: str
    description: str
    l4t: str
    python: str
    cuda: str
    tensorrt: Annotated[tuple[Version, ...], Field(min_length=1)]
    boards: Annotated[tuple[str, ...], Field(min_length=1)]
    opset: Annotated[int, Field(ge=13, le=23)]  # what is written for it
    ir_version: Annotated[int, Field(ge=7)]
    typing: Literal["weak", "strong"]  # weak: the builder's flags allow FP16; strong: the types say
    accelerated: tuple[str, ...] = ()  # boards whose accelerator (DLA) its TensorRT reaches
    refuses: dict[Feature, str] = Field(default={})  # why it cannot, and the way out
    sources: dict[str, str]

    @classmethod
    def read(cls, name: str) -> "Platform":
        """Read a built-in platform, or the user's own ``.toml`` file; its stem is its name.

        Raises:
            UsageError: there is none, or a key or value is wrong.
        """
        stem = catalogue.locate("profiles/platforms", name).stem
        tree = {"name": stem, **catalogue.read("profiles/platforms", name)}
        return checking.checked(cls, tree, f"platform '{name}'")

    def shape(self, target: Target) -> Target:
        """Return the target in the form that this platform reads.

        Raises:
            UsageError: the target is not made for TensorRT.
            ExportError: the platform cannot run it; the message names the way out.
        """
        if "tensorrt" not in target.runs_on:
            raise UsageError(
                f"target '{target.name}' is made for {target.runs_on[0]}, and platform "
                f"'{self.name}' runs TensorRT: choose a target for it, such as tensorrt-fp16"
            )
        for feature in _features(target):
            if feature in self.refuses:
                raise ExportError(
                    f"platform '{self.name}' does not take target '{target.name}': "
                    f"{self.refuses[feature]}"
                )
        return target.model_copy(update={"opset": self.opset})


def _features(target: Target) -> list[Feature]:
    """Return what a target asks of a platform."""
    wanted: dict[Feature, bool] = {
        "int8": target.precision == "int8",
        "fp16-scales": target.rest == "fp16",
        "dla": target.dla,
    }
    return [feature for feature, asked in wanted.items() if asked]
