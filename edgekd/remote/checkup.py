"""Look at a board and say what it is, what it lacks, and what will disturb a measurement."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekd.core.errors import DeviceError
from edgekd.remote import devices, inventory, lines, session

WARM_C = 80.0  # near enough to the 85 to 99 C at which boards slow down
BUSY_RATIO = 0.10  # of the GPU, by others: a measurement would be inconclusive
SCARCE_MIB = 1024  # a builder of engines takes several times its model
_MENDS = {
    "numpy": "sudo apt-get install python3-numpy, or name a virtual environment's 'python'",
    "onnxruntime": "pip install onnxruntime, for the 'python' that the inventory names",
    "tensorrt": "sudo apt-get install python3-libnvinfer, for the system's own Python",
}
_QUIET = "end other programs, such as the desktop (sudo systemctl isolate multi-user.target)"
_UNKNOWN = "the board does not say"
_TRTEXEC = "it builds where Python has no TensorRT: name its path as 'trtexec' in the inventory"


@dataclass(frozen=True)
class Finding:
    """One thing of a board."""

    name: str
    state: Literal["ok", "missing", "warning", "unknown"]
    summary: str

    @property
    def prevents(self) -> bool:
        """Say whether nothing can be measured for want of it."""
        return self.state == "missing" and self.name in _MENDS


def visit(name: str, file: Path | None = None) -> list[Finding]:
    """Ask a device what it is, and examine the answer.

    Args:
        name: of a device, as ``inventory.find`` takes it.
        file: the inventory; None: the user's own.

    Raises:
        UsageError: there is no such device.
        DeviceError: it cannot be reached, or answers something else.
    """
    place = inventory.find(name, file)
    return list(examine(place, ask(place)))


def ask(place: inventory.Place) -> lines.Probe:
    """Ask a device what it is.

    Raises:
        DeviceError: it cannot be reached, or answers something else.
    """
    with session.talk("probe", reach=place.reach) as said:
        probes = [line for line in said if isinstance(line, lines.Probe)]
    if len(probes) != 1:
        raise DeviceError(
            f"'{place.name}' was asked once what it is, but answered {len(probes)} times"
        )
    return probes[0]


def examine(place: inventory.Place, probe: lines.Probe) -> Iterator[Finding]:
    """Yield what there is to say of a device."""
    yield Finding("machine", "ok", f"{probe.machine}, {probe.architecture}, {probe.os}")
    yield _kind(place, probe.jetson)
    yield Finding("Python", "ok", probe.python)
    yield _needed("numpy", probe.numpy)
    engine = place.device.engine
    yield _needed(engine, probe.engines.get(engine))
    yield _memory(probe)
    yield _processor(probe)
    yield sensor(probe.power, probe.no_power)
    if probe.jetson is not None:
        yield from _jetson(place.device.board, probe.jetson)
        yield (
            Finding("trtexec", "ok", probe.trtexec)
            if probe.trtexec
            else Finding("trtexec", "missing", _TRTEXEC)
        )


def sensor(power: str | None, why: str | None) -> Finding:
    """Say where a machine's power is read, or why it cannot be."""
    if power is None:
        return Finding("power sensor", "missing", f"no energy is measured: {why or _UNKNOWN}")
    return Finding("power sensor", "ok", power)


def _kind(place: inventory.Place, jetson: lines.Jetson | None) -> Finding:
    if place.device.refuses is not None:
        return Finding("kind", "warning", f"{place.kind} takes no models: {place.device.refuses}")
    board = place.device.board
    if board is None:
        return Finding("kind", "ok", place.kind)
    if jetson is None:
        return Finding("kind", "warning", f"the inventory says {place.kind}, but it is no Jetson")
    if board.is_that_of(jetson):
        return Finding("kind", "ok", f"{place.kind}, as its module's part number says")
    found = devices.kind_of(jetson)
    if found is None:
        return Finding("kind", "unknown", f"no profile knows the module of '{jetson.model}'")
    return Finding("kind", "warning", f'it is {found}, not {place.kind}: set profile = "{found}"')


def _needed(name: str, version: str | None) -> Finding:
    if version is None:
        return Finding(name, "missing", f"needed to run models: {_MENDS[name]}")
    return Finding(name, "ok", version)


def _memory(probe: lines.Probe) -> Finding:
    if probe.free_mib is None or probe.memory_mib is None:
        return Finding("memory", "unknown", _UNKNOWN)
    summary = f"{probe.free_mib} of {probe.memory_mib} MiB free"
    if probe.free_mib < SCARCE_MIB:
        return Finding("memory", "warning", f"{summary}: {_QUIET}")
    return Finding("memory", "ok", summary)


def _processor(probe: lines.Probe) -> Finding:
    if probe.cpu_locked is None:
        return Finding("CPU clock", "unknown", _UNKNOWN)
    if probe.cpu_locked:
        return Finding("CPU clock", "ok", "locked")
    mend = "lock it before measuring (a Jetson: sudo jetson_clocks; others: cpupower frequency-set)"
    return Finding("CPU clock", "warning", f"it follows the load, and so will latencies; {mend}")


def _jetson(board: devices.Board | None, jetson: lines.Jetson) -> Iterator[Finding]:
    yield _release(jetson.l4t)
    for name, version in (("TensorRT", jetson.tensorrt), ("CUDA", jetson.cuda)):
        yield (
            Finding(name, "ok", version)
            if version
            else Finding(name, "missing", "sudo apt-get install nvidia-jetpack")
        )
    mode = jetson.power_mode
    yield Finding("power mode", "ok", mode) if mode else Finding("power mode", "unknown", _UNKNOWN)
    yield _clock(board, jetson.gpu)
    yield _load(jetson.gpu_load)
    yield _heat(jetson.temperatures_c)


def _release(l4t: str | None) -> Finding:
    if l4t is None:
        return Finding("JetPack", "unknown", _UNKNOWN)
    jetpack = devices.jetpack(l4t)
    if jetpack is None:
        return Finding("JetPack", "unknown", f"L4T {l4t}, which edgekd does not know")
    return Finding("JetPack", "ok", f"{jetpack} (L4T {l4t})")


def _clock(board: devices.Board | None, gpu: lines.Gpu | None) -> Finding:
    if gpu is None:
        return Finding("GPU clock", "unknown", _UNKNOWN)
    cap = ""
    if board is not None and gpu.max_mhz < 0.99 * board.gpu_mhz:
        cap = f", {board.gpu_mhz:g} MHz in its fastest power mode"
    if gpu.locked:
        return Finding("GPU clock", "ok", f"locked at {gpu.max_mhz:g} MHz{cap}")
    return Finding(
        "GPU clock",
        "warning",
        f"{gpu.min_mhz:g} to {gpu.max_mhz:g} MHz{cap}: it follows the load, and so will latencies; "
        "lock it before measuring (sudo jetson_clocks)",
    )


def _load(ratio: float | None) -> Finding:
    if ratio is None:
        return Finding("GPU load", "unknown", _UNKNOWN)
    summary = f"{100 * ratio:.0f} %"
    if ratio > BUSY_RATIO:
        return Finding("GPU load", "warning", f"{summary}, of other programs: {_QUIET}")
    return Finding("GPU load", "ok", summary)


def _heat(temperatures_c: dict[str, float]) -> Finding:
    if not temperatures_c:
        return Finding("temperature", "unknown", _UNKNOWN)
    name, hottest_c = max(temperatures_c.items(), key=lambda pair: pair[1])
    summary = f"{hottest_c:.0f} C ({name})"
    if hottest_c > WARM_C:
        return Finding("temperature", "warning", f"{summary}: let it cool, or it slows down")
    return Finding("temperature", "ok", summary)
