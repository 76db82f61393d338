"""How much memory work on the GPU takes: what is free now, against what was free before.

Where the GPU has memory of its own, CUDA knows (``cudaMemGetInfo``). Where it shares the system's,
as on a Jetson, CUDA repeats the kernel's MemFree, from which every file that is read takes away,
as it is kept until somebody needs the room. There MemAvailable is compared instead; what this
process has taken for itself is left out, as it stands in the process's own peak already.

Sources: NVIDIA's CUDA Runtime API reference, ``cudaMemGetInfo``, on Tegra; proc(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .. import telemetry

if TYPE_CHECKING:
    from . import Cuda


class Meter:
    """Tells how much memory has been taken on a GPU since this was made.

    By whomever: it is told exactly only where nobody else takes or gives back any meanwhile.

    Args:
        gpu: which.
    """

    def __init__(self, gpu: Cuda) -> None:
        self._gpu = gpu
        self._before_mib = self._free_mib()

    def taken_mib(self) -> Optional[float]:
        """Return how much, in MiB, >= 0; None: the system does not say."""
        now_mib = self._free_mib()
        if now_mib is None or self._before_mib is None:
            return None
        return max(0.0, self._before_mib - now_mib)

    def _free_mib(self) -> Optional[float]:
        if not self._gpu.unified:
            return self._gpu.free_bytes() / 2**20
        available_mib, own_mib = telemetry.available_mib(), telemetry.memory_mib("RssAnon")
        return None if available_mib is None or own_mib is None else available_mib + own_mib
