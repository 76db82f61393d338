"""Read the pickles in which CIFAR was published, and nothing else.

A pickle is a program. This one may call two names, both of them stand-ins that only note what they
are given; numpy's own code never sees a byte that was not checked.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core.errors import DataError

_DAMAGE = (
    pickle.UnpicklingError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
)


class _Dtype:
    """What ``numpy.dtype(code, align, copy)`` was asked for."""

    def __init__(self, code: object, *_: object) -> None:
        self.is_uint8 = code in {b"u1", "u1"}

    def __setstate__(self, state: object) -> None:
        """Note nothing: single bytes have no order."""


class _Array:
    """What ``numpy.ndarray`` was filled with."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def array(self) -> NDArray[np.uint8]:
        """Make the array, checked."""
        _, shape, dtype, in_columns, content = self.state
        if not isinstance(dtype, _Dtype) or not dtype.is_uint8 or not isinstance(content, bytes):
            raise ValueError("an array is not of plain bytes")
        flat = np.frombuffer(content, np.uint8)
        shaped: NDArray[np.uint8] = flat.reshape(tuple(shape), order="F" if in_columns else "C")
        return shaped


def _reconstruct(*_: object) -> _Array:
    return _Array()


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Look a name up: only stand-ins are found."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for '{module}.{name}', which no published CIFAR file does"
            ) from None


def read(path: Path) -> dict[str, Any]:
    """Read a dictionary of lists, numbers, text and arrays; nothing in the file is run.

    Returns:
        The dictionary, with its keys as text; arrays are uint8, and stand at its first level.

    Raises:
        DataError: the file is missing, damaged, or asks for anything else.
    """
    try:
        with path.open("rb") as file:
            # bytes: what Python 2 called str is text in keys and pixels in arrays.
            found = _Restricted(file, encoding="bytes").load()
        if not isinstance(found, dict):
            raise TypeError(f"it holds a {type(found).__name__}, not a dictionary")
        return {_text(key): _value(value) for key, value in found.items()}
    except FileNotFoundError as error:
        raise DataError(f"there is no file '{path}'") from error
    except _DAMAGE as error:
        raise DataError(f"'{path}' cannot be read as a published CIFAR file: {error}") from error


def _value(value: object) -> Any:
    return value.array() if isinstance(value, _Array) else value


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
