"""Train in several processes, started by torchrun, as if it were one."""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgekd.core.errors import DeviceError, UsageError
from edgekd.distill import hardware


class Processes:
    """The processes that train together; one alone, with no process group, unless torchrun says so.

    Args:
        device: the recipe's wish.

    Raises:
        UsageError: there is no such device.
        DeviceError: it is missing, or the processes have not found one another.
    """

    def __init__(self, device: str) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = hardware.device_of(device, int(os.environ.get("LOCAL_RANK", "0")))
        if self.count > 1:
            # Its import takes a second, and it opens connections.
            from accelerate import Accelerator, DistributedDataParallelKwargs

            # Buffers are averaged once an epoch (see average_), not copied at every step.
            keywords = DistributedDataParallelKwargs(broadcast_buffers=False)
            self._accelerator = Accelerator(
                cpu=self.device.type == "cpu", mixed_precision="no", kwargs_handlers=[keywords]
            )
            found = self._accelerator.num_processes
            # Else each would train alone and take itself for the whole.
            if found != self.count:
                raise DeviceError(
                    f"WORLD_SIZE says that {self.count} processes train together, but they have "
                    f"joined as {found}: start all of them with torchrun, for one device"
                )

    @property
    def main(self) -> bool:
        """True in the process that writes files and records."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return which part of a global batch is this process's.

        Raises:
            UsageError: it cannot be divided equally.
        """
        if batch_size % self.count:
            raise UsageError(
                f"batch_size {batch_size} cannot be divided among {self.count} processes: use a "
                f"multiple of {self.count}"
            )
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module, whose gradients are averaged over the processes."""
        if self.count == 1:
            return module
        wrapped: nn.Module = self._accelerator.prepare_model(module)
        return wrapped

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over the processes; whole numbers stay as they are."""
        if self.count == 1:
            return
        for tensor in tensors:
            if tensor.is_floating_point():
                tensor.copy_(self._accelerator.reduce(tensor, "mean"))

    def mean(self, value: float) -> float:
        """Return the mean of a number over the processes, the same in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(shared)
        return float(shared) / self.count

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other."""
        if self.count == 1:
            return rows
        gathered: Tensor = self._accelerator.gather(rows)
        return gathered

    def agree(self, value: float) -> float:
        """Return the main process's value in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, src=0)
        return float(shared)

    def wait(self) -> None:
        """Go on only when every process is here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()
