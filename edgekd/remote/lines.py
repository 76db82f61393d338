"""What an agent says, checked where it comes in: each line of its stdout is one of these."""

from typing import Annotated, Literal, Self

from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from edgekd.core.engine import Engine
from edgekd.core.errors import DeviceError

Count = Annotated[int, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1]


class Machine(_Line):
    """Where the agent runs."""

    type: Literal["machine"]
    machine: str  # model and cores, for people
    cores: Annotated[int, Field(ge=1)]  # that the agent may use
    boot_id: str | None = None  # of its last start; None: its kernel has none


class Opened(_Line):
    """A model file is open; where it is measured, its first inference is done too."""

    type: Literal["opened"]
    subject: Count = 0
    engine: str  # with its version
    load_ms: NotNegative | None
    cold_ms: NotNegative | None


class Warmed(_Line):
    """A model has been warmed up."""

    type: Literal["warmed"]
    subject: Count
    runs: Count
    seconds: NotNegative
    steady: bool  # False: its latency still moved when time was up
    device_mib: NotNegative | None = None  # taken on the GPU by then; None: it runs on none
    context_mib: NotNegative | None = None  # of which TensorRT reckons so much for activations


class Block(_Line):
    """The latencies of one model's turn."""

    type: Literal["block"]
    subject: Count
    block: Count
    samples_ns: tuple[Annotated[int, Field(gt=0)], ...]
    wall_ns: Annotated[int, Field(gt=0)]  # of the whole turn: what streams at once take together
    gpu_ns: tuple[Annotated[int, Field(gt=0)], ...] = ()  # of as many others, without copies


class Memory(_Line):
    """How much memory a model's process took at most."""

    type: Literal["memory"]
    subject: Count
    peak_mib: NotNegative | None  # above that of the process with the engine, but without a model


class Telemetry(_Line):
    """Counters and sensors at one moment; None: the device has none."""

    type: Literal["telemetry"]
    busy_ticks: Count | None
    all_ticks: Count | None
    own_ticks: Count | None
    cpu_mhz: float | None
    gpu_mhz: float | None = None
    temperature_c: float | None
    throttled: Count | None  # events since boot
    throttling: tuple[str, ...] = ()  # parts whose clock is held down now
    swapped_pages: Count | None = None  # in and out since boot


class Stretch(_Line):
    """A time in which one model ran without a pause, or nothing did."""

    type: Literal["stretch"]
    subject: Count | None  # None: nothing ran
    block: Count | None
    runs: Count
    start_ns: Count  # of one clock for stretches and readings
    end_ns: Count


class Power(_Line):
    """What the board's sensor told during the stretches, or why it told nothing."""

    type: Literal["power"]
    source: str | None  # "tegrastats"; None: no figure can be had
    reason: str | None = None
    unit: Literal["mW", "uJ"] | None = None  # uJ: a counter since the first reading
    rails: tuple[str, ...] = ()
    times_ns: tuple[Count, ...] = ()
    values: tuple[tuple[float, ...], ...] = ()  # [readings, rails]


class Series(_Line):
    """What sensors told over time while models ran; None: one did not answer, or is not there."""

    type: Literal["series"]
    times_ns: tuple[Count, ...]  # of one clock for readings and turns
    temperatures_c: dict[str, tuple[float | None, ...]]  # by thermal zone
    gpu_mhz: tuple[float | None, ...]
    cpu_mhz: tuple[float | None, ...]  # of the fastest core that may be used
    throttling: tuple[tuple[str, ...], ...]  # parts whose clock was held down
    turns: tuple[tuple[Count | None, Count, Count], ...]  # model (None: nothing ran), start, end
    source: str | None  # of power; None: there is none, or another line tells it
    no_power: str | None  # why there is none
    unit: Literal["mW", "uJ"] | None  # uJ: a counter since the first reading
    rails: dict[str, tuple[float | None, ...]]

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        columns = (*self.temperatures_c.values(), *self.rails.values())
        for column in (self.gpu_mhz, self.cpu_mhz, self.throttling, *columns):
            if len(column) != len(self.times_ns):
                raise ValueError(f"{len(column)} values at {len(self.times_ns)} times")
        return self


class Conditions(_Line):
    """What stays as it is while nobody changes it; None: the device does not say."""

    type: Literal["conditions"]
    power_mode: str | None
    gpu: "Gpu | None"
    gpu_load: Ratio | None = None  # while nothing of ours ran
    cpu_locked: bool | None  # one clock for every core
    available_mib: NotNegative | None


class Progress(_Line):
    """How far the agent is."""

    type: Literal["progress"]
    done: Count
    total: Count
    note: str


class Gpu(BaseModel):
    """The clock of a board's GPU, in MHz; one that is locked does not ramp up under load."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    now_mhz: NotNegative
    min_mhz: NotNegative
    max_mhz: NotNegative
    locked: bool


class Jetson(BaseModel):
    """What a Jetson says about itself; None: it does not, or not to this user."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    compatible: tuple[str, ...]  # of the device tree, from the board to the chip
    l4t: str | None  # "36.4.3"
    tensorrt: str | None
    cuda: str | None
    power_mode: str | None
    gpu: Gpu | None
    gpu_load: Ratio | None = None  # of the GPU, by whatever runs
    temperatures_c: dict[str, float]


class Probe(_Line):
    """What a device is and has."""

    type: Literal["probe"]
    machine: str
    architecture: str
    flags: tuple[str, ...]  # instruction sets that matter
    cores: int
    memory_mib: int | None
    os: str
    python: str
    numpy: str | None  # None: missing, so that nothing can be run
    engines: dict[str, str | None]  # versions; None: missing
    free_mib: int | None = None
    cpu_locked: bool | None = None  # one clock for every core; None: it does not say
    trtexec: str | None = None  # its path
    jetson: Jetson | None = None  # None: it is none
    power: str | None = None  # where its power is read; None: nowhere
    no_power: str | None = None  # why


class Built(_Line):
    """An engine is there, and its record beside it."""

    type: Literal["built"]
    record: Engine


class LayerTime(BaseModel):
    """The time of one layer in one inference."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    mean_ms: NotNegative
    median_ms: NotNegative | None  # None: TensorRT is too old to say
    precision: str = ""  # that it ran in; "": not said


class Timed(_Line):
    """trtexec has timed an engine, whole and layer by layer."""

    type: Literal["timed"]
    engine: str
    latency_ms: tuple[NotNegative, ...]  # of each inference: copying in, computing, copying out
    compute_ms: tuple[NotNegative, ...]
    h2d_ms: tuple[NotNegative, ...]
    d2h_ms: tuple[NotNegative, ...]
    inferences: Count  # over which the layers' times are taken
    layers: tuple[LayerTime, ...]
    warnings: tuple[str, ...]


class Landed(_Line):
    """The connection to a board stands."""

    type: Literal["landed"]
    boot_id: str | None = None  # of the board's last start; None: its kernel has none


class Waiting(_Line):
    """Another client uses the board."""

    type: Literal["waiting"]
    holder: str  # who, and since when


class Ready(_Line):
    """All files are on the board and nobody else uses it: the agent begins."""

    type: Literal["ready"]


class Piece(_Line):
    """A piece of a file that the agent wrote."""

    type: Literal["piece"]
    name: str
    data: Base64Bytes
    sha256: str | None  # of the whole file, with its last piece


class Error(_Line):
    """Why the agent gives up."""

    type: Literal["error"]
    kind: Literal["model", "engine", "request", "board"]
    message: str


class Done(_Line):
    """The agent has done what it was asked."""

    type: Literal["done"]


Trip = Landed | Waiting | Ready | Piece  # of a landing on a board: no caller sees them
Moment = Telemetry | Conditions
Work = Machine | Opened | Warmed | Block | Memory | Moment | Progress | Probe | Built | Timed
Watt = Stretch | Power | Series
Line = Work | Watt | Trip | Error | Done
_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def parse(text: str) -> Line:
    """Read one line.

    Raises:
        DeviceError: it is not JSON, or not a line of schema 1.
    """
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(step) for step in fault["loc"])
        shown = text.strip()[:80]
        raise DeviceError(
            f"the agent must write JSON lines of schema 1, but wrote '{shown}'"
            f" ({place + ': ' if place else ''}{fault['msg']})"
        ) from error
