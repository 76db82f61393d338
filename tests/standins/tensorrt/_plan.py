"""A plan: TensorRT's own header, a checksum, what the builder settled, and the ONNX file."""

import ctypes
import hashlib
import json
import struct
from typing import Any

from ._callbacks import ENUMS
from ._facts import NUMBERS, gpu
from ._pybind import Bound, title

# Magic, serialisation version, 16 bytes, then major, minor, patch, build: bytes 24 to 27.
_HEADER = struct.Struct("<4sI16s4B4x")
_MAGIC = b"ftrt"
_CACHE = b"stand-in timing cache\n"


class PlanError(Exception):
    """Why a plan cannot be used here."""


def _version() -> tuple[int, ...]:
    padded = (*NUMBERS, 0, 0)[:4]
    return tuple(part & 0xFF for part in padded)


def pack(settled: dict[str, Any], onnx_file: bytes) -> bytes:
    text = json.dumps({**settled, "gpu": gpu()}, sort_keys=True).encode()
    body = struct.pack("<Q", len(text)) + text + onnx_file
    header = _HEADER.pack(_MAGIC, 0, struct.pack("<QQ", len(body), 0), *_version())
    return header + hashlib.sha256(body).digest() + body


def unpack(blob: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what the builder settled and the ONNX file.

    Raises:
        PlanError: not a plan, damaged, of another version of TensorRT, or of another GPU.
    """
    start = _HEADER.size + 32
    if len(blob) < start + 8 or blob[:4] != _MAGIC:
        raise PlanError("the magic tag does not match: this is not an engine")
    found = tuple(blob[24:28])
    if found != _version():
        raise PlanError(
            "the engine plan was made by version {}, but this library is {}".format(
                ".".join(map(str, found)), ".".join(map(str, _version()))
            )
        )
    body = blob[start:]
    if hashlib.sha256(body).digest() != blob[_HEADER.size : start]:
        raise PlanError("the engine plan is damaged or cut short")
    (length,) = struct.unpack_from("<Q", body)
    settled: dict[str, Any] = json.loads(body[8 : 8 + length])
    if settled["gpu"] != gpu():
        raise PlanError(f"the engine was made on '{settled['gpu']}', but this GPU is '{gpu()}'")
    return settled, body[8 + length :]


def pack_cache(keys: set[str]) -> bytes:
    head = json.dumps({"version": NUMBERS, "gpu": gpu(), "keys": sorted(keys)})
    return _CACHE + head.encode()


def unpack_cache(blob: bytes) -> set[str] | None:
    """Return a timing cache's keys; None: damaged, or of another version or GPU."""
    if not blob:
        return set()
    if not blob.startswith(_CACHE):
        return None
    try:
        head = json.loads(blob.removeprefix(_CACHE))
    except ValueError:
        return None
    mine = head["version"] == list(NUMBERS) and head["gpu"] == gpu()
    return set(head["keys"]) if mine else None


class _HostType(type(ctypes.Structure), Bound):  # type: ignore[misc]
    """A ctypes structure offers the buffer protocol without a length, as bound memory does."""

    def __call__(cls, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError(f"{title(cls)}: No constructor defined!")


class IHostMemory(ctypes.Structure, metaclass=_HostType):
    """Bytes that the library owns."""

    @property
    def nbytes(self) -> int:
        return ctypes.sizeof(self)

    @property
    def dtype(self) -> Any:
        return ENUMS["DataType"].INT8

    def __setattr__(self, name: str, _value: Any) -> None:
        raise AttributeError(f"'{title(type(self))}' object has no attribute '{name}'")

    @classmethod
    def _make(cls, blob: bytes) -> Any:
        fields = [("_bytes", ctypes.c_ubyte * len(blob))]
        scope = {"_fields_": fields, "__module__": cls.__module__, "__qualname__": "IHostMemory"}
        return _HostType("IHostMemory", (cls,), scope).from_buffer_copy(blob)
