"""What ``edgekd profile --device KIND`` writes: a latency that was worked out, not measured.

An estimate is a record of its own, so that nothing which asks for a measurement takes it for one.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from edgekd.core.records import Part, Record

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
FILE = "estimate.json"


class Range(Part):
    """From the least to the most that is expected, in ms."""

    low: float = Field(ge=0)
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"the most, {self.high}, is below the least, {self.low}")
        return self


class Layer(Part):
    """A kernel that TensorRT is expected to make of one layer or several."""

    name: str  # of the nodes, joined by " + " as TensorRT does
    operator: str  # the first one
    precision: Precision
    macs: int  # of the whole batch
    bytes: int  # that go to and from memory, weights too
    bound: Literal["compute", "memory", "launch"]  # what takes most of its time at best
    ms: Range


class Calibration(Part):
    """By what past measurements moved an estimate."""

    measurements: int = Field(ge=1)
    factor: float = Field(gt=0)  # measured over estimated, geometric mean
    width: float | None  # a further model lies within this factor, at 90 %; None: only one
    error_ratio: float | None  # largest of the leave-one-out errors, 0.2: 20 %; None: only one


class Estimate(Record):
    """The median latency of a model on a kind of board, worked out from its data sheet."""

    kind: Literal["estimate"] = "estimate"  # never a measurement
    subject: str
    sha256: str  # of the ONNX file
    device: str  # the kind of board
    power_mode: str | None  # None: the highest clocks of any
    gpu_mhz: float
    sms: int | None = None  # multiprocessors that are on; None: an older record
    bandwidth_gb_s: float | None = None  # None: an older record
    batch: int
    precision: Precision | None  # that was asked for; None: as the file says
    macs: int  # of the whole batch
    p50_ms: Range
    layers: tuple[Layer, ...]
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
