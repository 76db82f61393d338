"""The record of a measurement: latency, and energy where it was asked for."""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.core.record import Interval, NotNegative, Part, PositiveInterval, Record
from edgekd.core.series import Series

Scope = Literal["module", "board", "package", "sum of rails"]


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
    runs: Annotated[int, Field(ge=1)]
    p50_ms: PositiveInterval
    p90_ms: PositiveInterval
    p95_ms: PositiveInterval | None = None  # None: under 59 samples
    p99_ms: PositiveInterval | None  # None: under 299 samples
    p999_ms: PositiveInterval | None = None  # None: under 2995 samples
    gpu_p50_ms: PositiveInterval | None = None  # on the GPU, without copies; None: not on a GPU
    images_per_s: PositiveInterval | None = None  # of all streams together; None: an older record
    ratio_to_first: PositiveInterval | None  # of medians, paired by block; None: it is the first
    drift_ratio: float  # median of the last third over that of the first
    spread_ratio: float | None = None  # coefficient of variation of the blocks' medians
    load_ms: float  # opening the file
    cold_ms: float  # the first inference
    warm_up_s: float | None = None  # until its latency stayed, or time was up; None: older record
    peak_memory_mib: NotNegative  # of the process, and what it has taken on the GPU
    device_memory_mib: float | None = None  # the latter; None: not on a GPU, or not known
    context_memory_mib: float | None = None  # of which TensorRT reckons so much for activations
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
    series: Series | None = None  # meanwhile; its power is in the readings. None: an older record


class Measurement(Record):
    """An interleaved measurement of several artifacts on one device; the first is the reference."""

    device: str
    machine: str
    boot_id: str | None = None  # of its last start; None: its kernel has none
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
    gpu_load_ratio: float | None = None  # of the GPU, before and after: the larger; None: unknown
    energy: Energy | None = None  # None: not asked for
    noise_ratio: Interval | None = None  # A/A: the first's odd blocks over its even ones
    clocks_locked: bool | None = None  # None: the device does not say
    temperatures_c: tuple[float, float] | None = None  # of the hottest part, before and after
    series: Series | None = None  # over time; None: an older record
    confirmed: bool | None = None  # by a second measurement; None: there was none
    warnings: tuple[str, ...] = ()  # what makes the numbers doubtful: inconclusive
    notes: tuple[str, ...] = ()  # what to know of them: clocks not locked, too few for p99.9 ...

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it should be measured again; none: it can be believed."""
        if self.energy is None:
            return self.warnings
        missing = () if self.energy.missing is None else (f"no energy: {self.energy.missing}",)
        return (*self.warnings, *missing, *(f"energy: {doubt}" for doubt in self.energy.doubts))
