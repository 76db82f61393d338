"""Devices: ``profiles/NAME.toml`` has the facts of a kind of board, and which engine runs there.

How to reach one board is said in the inventory; see ``edgekd.remote.inventory``.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgekd.core import catalogue, checking
from edgekd.remote import lines

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Mode(checking.Spec):
    """A power mode, by the name that ``nvpmodel -q`` prints: its number differs between boards.

    What is left out is not known.
    """

    name: str
    gpu_mhz: Positive | None = None  # the GPU's highest clock
    sms: Count | None = None  # that are on
    emc_mhz: Positive | None = None  # the memory's highest clock
    dla_mhz: tuple[Positive, ...] | None = None  # the highest clock of each of the DLA's cores


class Board(checking.Spec):
    """The facts of a kind of board; each number's source stands beside it in the file."""

    chip: str  # "tegra234", in the device tree's compatible
    parts: tuple[str, ...]  # its module's part numbers, such as "p3767-0003"
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")]
    cores: Count  # of the GPU
    sms: Count
    gpu_mhz: Positive  # the highest clock of any mode
    fp16_tflops: Positive  # of the GPU, dense, at that clock
    int8_tops: Positive | None = None  # likewise; None: TensorRT has no INT8 for this GPU
    dla_cores: Annotated[int, Field(ge=0)] = 0
    dla_int8_tops: Positive | None = None  # of all its cores, dense, at dla_mhz
    dla_mhz: Positive | None = None  # the highest clock of any mode
    memory_gib: Count
    bandwidth_gb_s: Positive  # at emc_mhz
    emc_mhz: Positive | None = None  # the highest clock of any mode
    jetpacks: Annotated[tuple[str, ...], Field(min_length=1)]
    rail: str | None = None  # that carries the module's whole power; None: the sum of its rails
    modes: tuple[Mode, ...] = ()

    @model_validator(mode="after")
    def _no_mode_exceeds_it(self) -> Self:
        for mode in self.modes:
            for fault in self._faults(mode):
                raise ValueError(f"mode '{mode.name}': {fault}")
        return self

    def _faults(self, mode: Mode) -> Iterator[str]:
        for name in ("gpu_mhz", "sms", "emc_mhz"):
            most, mine = getattr(self, name), getattr(mode, name)
            if mine is not None and (most is None or mine > most):
                yield f"{name} is {mine:g}, but that of the board, its highest, is {most}"
        cores = mode.dla_mhz
        if cores is not None and (len(cores) != self.dla_cores or max(cores) > (self.dla_mhz or 0)):
            yield (
                f"dla_mhz is {list(cores)}, but there must be a clock for each of {self.dla_cores} "
                f"cores, none above the board's dla_mhz, {self.dla_mhz}"
            )

    def is_that_of(self, jetson: lines.Jetson) -> bool:
        """Say whether a board is of this kind, by its module's part number."""
        return any(part in name for part in self.parts for name in jetson.compatible)


class Device(checking.Spec):
    """A kind of place where models run."""

    description: str
    reach: Literal["local", "ssh"]  # local: a subprocess of this process
    engine: Literal["onnxruntime", "tensorrt"]
    refuses: str | None = None  # why no model is sent there, and the way out
    board: Board | None = None


def find(name: str) -> Device:
    """Read a built-in device, or a file of the user's own if ``name`` ends in ``.toml``.

    Raises:
        UsageError: there is no such device, or its file has unknown keys or values.
    """
    return checking.checked(Device, catalogue.read("profiles", name), f"device '{name}'")


def kind_of(jetson: lines.Jetson) -> str | None:
    """Return the built-in device that a board is, by its module's part number; None: none."""
    for name in catalogue.names("profiles"):
        board = find(name).board
        if board is not None and board.is_that_of(jetson):
            return name
    return None


# NVIDIA's JetPack archive: the release of Linux for Tegra that comes with each, the longest match.
_JETPACKS = {
    "32.7": "4.6",
    "35.1": "5.0.2",
    "35.2": "5.1",
    "35.3": "5.1.1",
    "35.4": "5.1.2",
    "35.5": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.4": "5.1.6",
    "35.6": "5.1",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39": "7.2",
}


def jetpack(l4t: str) -> str | None:
    """Return the JetPack of a release such as "36.4.3"; None: it is not known, and not guessed."""
    numbers = l4t.split(".")
    for count in range(len(numbers), 0, -1):
        found = _JETPACKS.get(".".join(numbers[:count]))
        if found is not None:
            return found
    return None
