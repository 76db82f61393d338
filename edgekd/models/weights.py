"""Read weights files of other programs into a network: .safetensors, .pt, .pth. Never unpickle."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgekd.core.errors import CheckpointError
from edgekd.models.family import FixedConv2d

_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state", "net", "ema")
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 3
# What PyTorch's readers raise on damaged files; found by reading thousands of them.
_BROKEN = (
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError),
    *(AssertionError, AttributeError, struct.error),
)


def load_foreign(module: nn.Module, path: Path) -> None:
    """Load a state dict into ``module``, in place.

    Prefixes of DataParallel and torch.compile are stripped, and training checkpoints unwrapped.
    Constants of the architecture and heads that serve only training may be missing or superfluous.

    Args:
        module: a network as its name builds it.
        path: .safetensors, .pt or .pth.

    Raises:
        CheckpointError: no such file, not a state dict, of another architecture or number of
            classes, or not finite; what differs is named.
    """
    load_state(module, read_state(path), f"'{path}'")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors.

    Raises:
        CheckpointError: it is missing, broken, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no weights file '{path}'")
    tree = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(tree.get(wrapper), Mapping):
            tree = tree[wrapper]
            break
    state = {str(name): tensor for name, tensor in tree.items() if isinstance(tensor, Tensor)}
    if not state:
        found = ", ".join(str(key) for key in list(tree)[:_SHOWN]) or "nothing"
        raise CheckpointError(f"'{path}' holds no state dict; found: {found}")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_state(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy a state dict into ``module``; ``source`` names it in errors.

    Raises:
        CheckpointError: keys or shapes differ, or a value is not finite.
    """
    expected = module.state_dict()
    optional = _optional(module)
    missing = [name for name in expected if name not in state and name not in optional]
    extra = [name for name in state if name not in expected and not _training_only(name)]
    if missing or extra:
        raise CheckpointError(
            f"{source} belongs to another architecture than {type(module).__name__}: "
            + "; ".join(_list(missing, "missing") + _list(extra, "unexpected"))
        )
    usable = {name: tensor for name, tensor in state.items() if name in expected}
    wrong = [name for name in usable if usable[name].shape != expected[name].shape]
    if wrong:
        raise CheckpointError(f"{source} does not fit: {_explain(wrong, usable, expected)}")
    check_finite(usable, source)
    # Not load_state_dict(): some networks refuse a state without PyTorch's hidden version number.
    for name, tensor in usable.items():
        expected[name].copy_(tensor)


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Check that every value is a number.

    Raises:
        CheckpointError: one is not; its tensor is named.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            count = int((~tensor.isfinite()).sum())
            raise CheckpointError(
                f"{source}: '{name}' holds {count} values that are NaN or infinite; "
                "the training that made it diverged. Use an earlier checkpoint"
            )


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {error}") from error


def _torch(path: Path) -> Mapping[str, Any]:
    try:
        tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' is broken, or holds more than tensors, which could run code when "
            "read. Save the state dict alone: torch.save(model.state_dict(), FILE)"
        ) from error
    except _BROKEN as error:
        raise CheckpointError(f"'{path}' is not a whole PyTorch file: {error}") from error
    if not isinstance(tree, Mapping):
        raise CheckpointError(f"'{path}' holds a {type(tree).__name__}; expected a state dict")
    return tree


def _optional(module: nn.Module) -> set[str]:
    """Return the names that a file of another program may lack."""
    parts = dict(module.named_modules())
    fixed = {f"{name}.weight" for name, part in parts.items() if isinstance(part, FixedConv2d)}
    # Counts batches for an average over all of them; old PyTorch did not write it.
    counters = {f"{name}.num_batches_tracked" for name in parts}
    return fixed | counters


def _training_only(name: str) -> bool:
    """Say whether a tensor belongs to a head that torchvision uses in training alone."""
    return name.startswith(("aux1.", "aux2.", "AuxLogits."))


def _list(names: list[str], what: str) -> list[str]:
    if not names:
        return []
    rest = len(names) - _SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    return [f"{what} {', '.join(names[:_SHOWN])}{more}"]


def _explain(wrong: list[str], found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Say what differs in shape, and whether it is only the number of classes."""
    if all(found[name].shape[1:] == expected[name].shape[1:] for name in wrong):
        classes = {(found[name].shape[0], expected[name].shape[0]) for name in wrong}
        layers = {name.rpartition(".")[0] for name in wrong}
        if len(classes) == len(layers) == 1:
            there, wanted = classes.pop()
            return (
                f"it has {there} classes at '{layers.pop()}', but {wanted} are asked for. "
                f"Give --classes {there} (in a recipe teacher.classes = {there} and "
                f"[teacher.train], for a new classifier), or weights for {wanted}"
            )
    shapes = [
        f"'{name}' is {list(found[name].shape)}, expected {list(expected[name].shape)}"
        for name in wrong[:_SHOWN]
    ]
    return "; ".join(shapes) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
