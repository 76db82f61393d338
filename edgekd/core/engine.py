"""The record of an engine: what the machine that built it tells."""

from typing import Literal

from edgekd.core.records import Part, Shapes


class Gpu(Part):
    """The GPU that an engine was built on."""

    name: str
    compute_capability: str  # "8.7"
    driver: str  # the newest CUDA that it speaks
    runtime: str  # "libcudart 12.6"


class Asked(Part):
    """What the builder of an engine was asked for; None: its own choice."""

    profiles: dict[str, Shapes] | None = None
    precision: Literal["fp32", "fp16", "int8"] | None = None  # matters where typing is weak
    workspace_mib: int | None = None
    optimization_level: int | None = None
    dla_core: int | None = None
    gpu_fallback: bool | None = None


class Engine(Part):
    """A TensorRT plan, as the machine tells that built it; lies beside it as PLAN.json."""

    schema_version: Literal[1] = 1
    engine: str  # "tensorrt 10.3.0", "trtexec 10.3.0"
    tensorrt: str  # as the plan's head says
    plan_sha256: str
    plan_bytes: int
    onnx_sha256: str
    typing: Literal["strong", "weak"] | None  # None: trtexec's choice
    flags: tuple[str, ...] | None  # of precision; None: trtexec's choice
    timing_cache: Literal["off", "new", "reused", "refused"] | None
    seconds: float  # that building took
    warnings: tuple[str, ...]
    asked: Asked
    machine: str
    l4t: str | None
    power_mode: str | None  # kernels were chosen by timing them in this mode
    gpu: Gpu
