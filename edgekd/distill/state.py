"""The state of an unfinished stage on disk: one safetensors file, replaced after every epoch.

Everything is in the one file, so a crash between two writes cannot leave halves of two states.
Random numbers are not part of it: each epoch draws its own from the seed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.optim import Optimizer

from edgekd.core import files
from edgekd.core.errors import RecordError

FILE = "state.safetensors"


@dataclass(frozen=True)
class State:
    """What an unfinished stage needs to go on.

    Args:
        facts: numbers and history, as JSON.
        tensors: "student.NAME", "optimiser.0.momentum_buffer", "best.NAME" ...
    """

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def part(self, name: str) -> dict[str, Tensor]:
        """Return the tensors below ``name``."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): tensor
            for key, tensor in self.tensors.items()
            if key.startswith(prefix)
        }


def write(folder: Path, key: str, state: State) -> None:
    """Write the state, whole or not at all.

    Args:
        folder: of the stage.
        key: of all that the training depends on; another one does not go on from it.
        state: tensors may be on any device and share memory.

    Raises:
        EnvironmentMissingError: the disk is full; the old state, if any, is untouched.
    """
    tensors = {name: to_disk(tensor) for name, tensor in state.tensors.items()}
    metadata = {"key": key, "facts": json.dumps(state.facts)}
    # Bytes, not save_file: what safetensors raises when the disk is full is no OSError.
    files.write_bytes(folder / FILE, to_safetensors(tensors, metadata=metadata))


def read(folder: Path, key: str) -> State | None:
    """Read the state, if there is one and it belongs to the same training.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            facts = json.loads(metadata["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise RecordError(
            f"'{path}' is damaged ({error}): delete it, and the stage begins anew"
        ) from error
    return State(facts, tensors)


def to_disk(tensor: Tensor) -> Tensor:
    """Return a copy in plain layout on the CPU."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def of_module(module: nn.Module, name: str) -> dict[str, Tensor]:
    """Return parameters and buffers below ``name``."""
    return {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}


def of_optimiser(optimiser: Optimizer, name: str = "optimiser") -> dict[str, Tensor]:
    """Return what an optimiser remembers, below ``name``; all of it is tensors."""
    return {
        f"{name}.{index}.{key}": tensor
        for index, memory in optimiser.state_dict()["state"].items()
        for key, tensor in memory.items()
        if tensor is not None
    }


def into_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what it remembered, in the memory layout of its parameters."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    memory: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:  # the fused kernels walk both in the same order
            tensor = torch.empty_like(parameter).copy_(tensor)  # noqa: PLW2901
        memory.setdefault(int(index), {})[name] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": memory, "param_groups": groups})
