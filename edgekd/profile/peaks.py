"""What a board can do at most in a power mode: its clocks and what it leaves on.

A peak is that of the board's fastest mode, times what the mode leaves of clocks and parts: the
GPU's goes with its clock and its multiprocessors, the bandwidth with the memory's clock, the DLA's
with the clocks of its cores. Source: NVIDIA Jetson Linux Developer Guide, Platform Power and
Performance (what nvpmodel caps).
"""

from dataclasses import dataclass

from edgekd.core.errors import UsageError, did_you_mean
from edgekd.remote.devices import Board, Mode


@dataclass(frozen=True)
class Peaks:
    """The most that a board can do in a mode."""

    gpu_mhz: float
    sms: int
    fp16_tflops: float  # dense, as all of these
    int8_tops: float | None  # None: the GPU has none
    bandwidth_gb_s: float
    dla_int8_tops: float | None  # of all cores; None: the board has none
    taken: tuple[str, ...] = ()  # what is not known of the mode, and which peak stands for it


def of(board: Board, mode: str | None, kind: str) -> Peaks:
    """Return a board's peaks.

    Args:
        board: its facts.
        mode: a power mode's name; None: the highest clocks of any.
        kind: the device's name, for messages.

    Raises:
        UsageError: the board has no such mode, or nothing is known of it but its name.
    """
    caps = _fastest(board) if mode is None else _named(board, mode, kind)
    gpu_mhz, sms = caps.gpu_mhz or board.gpu_mhz, caps.sms or board.sms
    share = gpu_mhz / board.gpu_mhz * sms / board.sms
    memory = caps.emc_mhz / board.emc_mhz if caps.emc_mhz and board.emc_mhz else 1.0
    return Peaks(
        gpu_mhz=gpu_mhz,
        sms=sms,
        fp16_tflops=board.fp16_tflops * share,
        int8_tops=None if board.int8_tops is None else board.int8_tops * share,
        bandwidth_gb_s=board.bandwidth_gb_s * memory,
        dla_int8_tops=_dla(board, caps),
        taken=() if mode is None else _taken(board, caps),
    )


def known(board: Board) -> list[str]:
    """Return the modes of which there is more than a name."""
    return [mode.name for mode in board.modes if mode != Mode(name=mode.name)]


def fastest(board: Board) -> list[str]:
    """Return the modes in which the GPU and the memory are as fast as in any."""
    most = (board.gpu_mhz, board.sms, board.emc_mhz)
    return [m.name for m in board.modes if (m.gpu_mhz, m.sms, m.emc_mhz) == most]


def _fastest(board: Board) -> Mode:
    return Mode(name="", gpu_mhz=board.gpu_mhz, sms=board.sms, emc_mhz=board.emc_mhz)


def _named(board: Board, name: str, kind: str) -> Mode:
    modes = {mode.name: mode for mode in board.modes}
    if name not in modes:
        there = did_you_mean(name, modes) if modes else " None of its modes is known."
        raise UsageError(f"'{kind}' has no power mode '{name}'.{there}")
    if name not in known(board):
        raise UsageError(
            f"nothing is known of mode '{name}' of '{kind}' but its name; more is of "
            f"{', '.join(known(board)) or 'none of its modes'}"
        )
    return modes[name]


def _dla(board: Board, caps: Mode) -> float | None:
    if board.dla_int8_tops is None or board.dla_mhz is None or caps.dla_mhz is None:
        return board.dla_int8_tops
    return board.dla_int8_tops * sum(caps.dla_mhz) / (board.dla_mhz * board.dla_cores)


def _taken(board: Board, caps: Mode) -> tuple[str, ...]:
    """Say which peaks of the fastest mode stand for what is not known of this one."""
    stand_ins = {
        "the GPU's clock": (caps.gpu_mhz, f"{board.gpu_mhz:g} MHz"),
        "how many multiprocessors are on": (caps.sms, f"all {board.sms}"),
        "the memory's clock": (caps.emc_mhz, f"{board.bandwidth_gb_s:g} GB/s"),
    }
    return tuple(
        f"{what} in mode '{caps.name}' is not known: the most of any mode, {peak}, stands for it, "
        "so it may be slower"
        for what, (value, peak) in stand_ins.items()
        if value is None
    )
