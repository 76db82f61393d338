"""Decide where and how the arithmetic of a stage is done, and say why."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from edgekd.core.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekd.core.specs import Training

# Compiling costs about a second for each layer. On processors it saves a third of the time, which
# pays for it after so much work; a GPU does the same work in a hundredth of the time.
_MACS_PER_LAYER_TO_PAY = {"cpu": 3e11, "cuda": 3e13}
_CPU_WITH_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86, x86, Arm
_CPU_INFORMATION = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Arithmetic:
    """How the arithmetic is done.

    Args:
        device: where.
        amp: what autocast computes in; None: FP32 throughout.
        compile: whether networks are compiled.
        notes: what was decided and why.
    """

    device: torch.device
    amp: torch.dtype | None = None
    compile: bool = False
    notes: tuple[str, ...] = ()


def decide(training: Training, device: torch.device, macs: float, layers: int) -> Arithmetic:
    """Resolve what the recipe leaves open.

    Args:
        training: the recipe's wishes.
        device: of this process.
        macs: multiply-accumulates of the whole stage.
        layers: convolutions and linear layers to be compiled.

    Raises:
        EnvironmentMissingError: compiling is asked for, but there is no compiler.
        DeviceError: BF16 is asked for, but the GPU does not have it.
    """
    amp, amp_note = _amp(training, device)
    compiled, compile_note = _compile(training, device, macs, layers)
    return Arithmetic(device, amp, compiled, (amp_note, compile_note))


def device_of(wish: str, local_rank: int = 0) -> torch.device:
    """Return the device that a recipe's ``training.device`` stands for.

    Args:
        wish: "auto", "cpu", "cuda" or "cuda:1".
        local_rank: number of this process on this machine; it picks the GPU if none is named.

    Raises:
        UsageError: it is none of those.
        DeviceError: there is no such GPU.
    """
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = wish.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdigit()):
        raise UsageError(f"the device must be auto, cpu, cuda or cuda:N, but is '{wish}'")
    index = int(number or local_rank)
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f"the device is '{wish}', but torch sees {torch.cuda.device_count()} CUDA devices: "
            "say cpu, or install a CUDA build of torch and its driver"
        )
    return torch.device("cuda", index)


@contextmanager
def reproducible(training: Training, device: torch.device) -> Iterator[None]:
    """Keep random numbers and switches of the process as they are outside the block.

    Raises:
        UsageError: a GPU cannot be deterministic without CUBLAS_WORKSPACE_CONFIG.
    """
    on_gpu = device.type == "cuda"
    if training.deterministic and on_gpu and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        raise UsageError(
            "training.deterministic on a GPU needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the "
            "environment, before edgekd starts"
        )
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        try:
            if training.deterministic:
                torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = on_gpu and not training.deterministic
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.backends.cudnn.benchmark = before[2]


def _amp(training: Training, device: torch.device) -> tuple[torch.dtype | None, str]:
    if training.amp == "off":
        return None, "amp: off, as asked"
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = bool(_cpu_flags() & _CPU_WITH_BF16)
    if training.amp == "bf16":
        if device.type == "cuda" and not has:
            raise DeviceError(
                f"{torch.cuda.get_device_name(device)} does not compute in BF16: use "
                'training.amp = "off"'
            )
        doubt = "" if has else "; this processor only emulates it, which is slower than FP32"
        return torch.bfloat16, f"amp: bf16, as asked{doubt}"
    if has:
        return torch.bfloat16, "amp: bf16, which this hardware computes in"
    return None, "amp: off, for this hardware does not compute in bf16"


def _compile(
    training: Training, device: torch.device, macs: float, layers: int
) -> tuple[bool, str]:
    if training.compile == "off":
        return False, "compile: off, as asked"
    compiler = _compiler()
    if training.compile == "on":
        if compiler is None:
            raise EnvironmentMissingError(
                'training.compile = "on" needs a C++ compiler, g++ or clang++, and there is none: '
                'install one, or use "auto" or "off"'
            )
        return True, "compile: on, as asked; the first epoch's time includes it"
    if compiler is None:
        return False, "compile: off, for there is no C++ compiler (g++, clang++)"
    enough = layers * _MACS_PER_LAYER_TO_PAY[device.type]
    if macs < enough:
        return False, f"compile: off, for it would not pay: {macs:.1e} of {enough:.1e} MACs"
    return True, f"compile: on, for {macs:.1e} MACs pay for it; the first epoch's time includes it"


def _compiler() -> str | None:
    """Return the C++ compiler that torch.compile would call."""
    candidates = [os.environ.get("CXX", ""), "g++", "clang++"]
    return next((name for name in candidates if name and shutil.which(name)), None)


def _cpu_flags() -> set[str]:
    if not _CPU_INFORMATION.exists():
        return set()
    for line in _CPU_INFORMATION.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"flags", "Features"}:
            return set(value.split())
    return set()
