"""Contexts of threads, pinned memory, streams that work only when somebody waits for them.

"Device" memory is the host's, at its address. EDGEKD_STANDIN_GPUS: how many GPUs there are (1);
EDGEKD_STANDIN_DEVICE_BYTES: their memory; EDGEKD_STANDIN_DISCRETE=1: it is not the system's.
"""

import builtins
import ctypes
import enum
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np


class Error(Exception):
    """Whatever CUDA reports."""


class LogicError(Error):
    """The program's mistake."""


class LaunchError(Error):
    """Work that failed."""


class MemoryError(Error):  # noqa: A001
    """Memory is short."""


class RuntimeError(Error):  # noqa: A001
    """The machine's mistake."""


_started = False
_local = threading.local()  # each thread has its own stack of contexts
_handles = itertools.count(0x5000, 0x10)
# Handle -> stream; the stand-in for TensorRT looks here.
_streams: weakref.WeakValueDictionary[int, "Stream"] = weakref.WeakValueDictionary()
_device: dict[int, int] = {}  # address -> size
_pinned: dict[int, int] = {}


def _stack() -> list["Context"]:
    if not hasattr(_local, "stack"):
        _local.stack = []
    return _local.stack


def _check_context() -> None:
    _check_started()
    if not _stack():
        raise LogicError("cuCtx: invalid device context - no currently active context?")


def _check_started() -> None:
    if not _started:
        raise LogicError("initialization error: init() was not called")


def init(flags: int = 0) -> None:
    global _started  # noqa: PLW0603
    if not Device._count():
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    _started = True


def get_driver_version() -> int:
    return 12060


class device_attribute(enum.Enum):  # noqa: N801
    INTEGRATED = 18


class Device:
    def __init__(self, number: int) -> None:
        _check_started()
        if not 0 <= number < self._count():
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        self._primary: Context | None = None

    @staticmethod
    def _count() -> int:
        return int(os.environ.get("EDGEKD_STANDIN_GPUS", "1"))

    @staticmethod
    def count() -> int:
        _check_started()
        return Device._count()

    def name(self) -> str:
        return os.environ.get("EDGEKD_STANDIN_GPU", "stand-in")

    def compute_capability(self) -> tuple[int, int]:
        return (8, 7)

    def total_memory(self) -> int:
        return int(os.environ.get("EDGEKD_STANDIN_DEVICE_BYTES", str(8 << 30)))

    def get_attribute(self, attribute: "device_attribute") -> int:
        if not isinstance(attribute, device_attribute):
            raise TypeError(f"an attribute is a device_attribute, but this is {attribute!r}")
        return int("EDGEKD_STANDIN_DISCRETE" not in os.environ)

    def retain_primary_context(self) -> "Context":
        return Context(_key)


_key = object()


class Context:
    def __init__(self, key: object = None) -> None:
        if key is not _key:
            raise builtins.RuntimeError("This class cannot be instantiated from Python")

    def push(self) -> None:
        _stack().append(self)

    @staticmethod
    def pop() -> None:
        if not _stack():
            raise LogicError("context::pop failed: invalid device context - cannot pop")
        _stack().pop()

    @staticmethod
    def synchronize() -> None:
        _check_context()
        for stream in list(_streams.values()):
            stream._run()

    def detach(self) -> None:
        if self in _stack():
            _stack().remove(self)


class DeviceAllocation:
    """Memory of the device; ``int()`` is its address."""

    def __init__(self, size: int, key: object = None) -> None:
        if key is not _key:
            raise builtins.RuntimeError("This class cannot be instantiated from Python")
        self._memory: Any = (ctypes.c_ubyte * size)()
        ctypes.memset(self._memory, 0xA5, size)  # nobody may count on zeros
        self._address = ctypes.addressof(self._memory)
        _device[self._address] = size

    def __int__(self) -> int:
        return self._address

    __index__ = __int__

    def free(self) -> None:
        if self._memory is None:
            raise LogicError("device_allocation::free failed: invalid handle - already freed")
        if any(stream._waiting for stream in _streams.values()):
            Context.synchronize()
        del _device[self._address]
        self._memory = None

    def __del__(self) -> None:
        if getattr(self, "_memory", None) is not None:
            _device.pop(self._address, None)


def mem_alloc(bytes: int) -> DeviceAllocation:  # noqa: A002
    _check_context()
    if bytes <= 0:
        raise LogicError("cuMemAlloc failed: invalid argument")
    if sum(_device.values()) + bytes > Device(0).total_memory():
        raise MemoryError("cuMemAlloc failed: out of memory")
    return DeviceAllocation(bytes, _key)


def mem_get_info() -> tuple[int, int]:
    _check_context()
    total = Device(0).total_memory()
    return total - sum(_device.values()), total


def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
    _check_context()
    array = np.empty(shape, dtype, order=order)  # type: ignore[call-overload]
    _pinned[array.ctypes.data] = array.nbytes
    weakref.finalize(array, _pinned.pop, array.ctypes.data, None)
    return array


def _inside(known: dict[int, int], address: int, size: int) -> bool:
    return any(start <= address and address + size <= start + held for start, held in known.items())


def _check_copy(array: Any, address: Any, *, to_host: bool) -> tuple[int, int]:
    _check_context()
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        raise ValueError("ndarray is not contiguous")
    if to_host and not array.flags.writeable:
        raise ValueError("the destination is read-only")
    if not hasattr(address, "__index__"):
        raise TypeError(f"an address is an int or a DeviceAllocation, but this is {address!r}")
    if not _inside(_device, int(address), array.nbytes):
        raise LogicError("cuMemcpy failed: invalid argument - not that much device memory there")
    return array.ctypes.data, array.nbytes


def memcpy_htod(dest: Any, src: Any) -> None:
    source, size = _check_copy(src, dest, to_host=False)
    ctypes.memmove(int(dest), source, size)


def memcpy_dtoh(dest: Any, src: Any) -> None:
    target, size = _check_copy(dest, src, to_host=True)
    ctypes.memmove(target, int(src), size)


def memcpy_htod_async(dest: Any, src: Any, stream: "Stream | None" = None) -> None:
    source, size = _check_copy(src, dest, to_host=False)
    _queue_copy(int(dest), source, size, source, stream)


def memcpy_dtoh_async(dest: Any, src: Any, stream: "Stream | None" = None) -> None:
    target, size = _check_copy(dest, src, to_host=True)
    _queue_copy(target, int(src), size, target, stream)


def _queue_copy(target: int, source: int, size: int, host: int, stream: "Stream | None") -> None:
    if not _inside(_pinned, host, size):
        raise LogicError("cuMemcpyAsync: the array is not in page-locked memory")

    def copy() -> None:
        if not _inside(_pinned, host, size):
            raise LaunchError("cuMemcpyAsync: the page-locked array is gone before it was copied")
        ctypes.memmove(target, source, size)

    copy() if stream is None else stream._put(copy)


class Stream:
    def __init__(self, flags: int = 0) -> None:
        _check_context()
        self._waiting: list[Callable[[], object]] = []
        self._handle = next(_handles)
        _streams[self._handle] = self

    @property
    def handle(self) -> int:
        return self._handle

    def _put(self, work: Callable[[], object]) -> None:
        self._waiting.append(work)

    def _run(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()

    def synchronize(self) -> None:
        _check_context()
        self._run()

    def is_done(self) -> bool:
        return not self._waiting


class Event:
    def __init__(self, flags: int = 0) -> None:
        _check_context()
        self._stream: Stream | None = None
        self._at: float | None = None

    def record(self, stream: Stream | None = None) -> "Event":
        self._at = None
        self._stream = stream
        if stream is None:
            self._mark()
        else:
            stream._put(self._mark)
        return self

    def _mark(self) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        return self._at is not None

    def synchronize(self) -> "Event":
        _check_context()
        if self._stream is not None:
            while self._at is None and self._stream._waiting:
                self._stream._waiting.pop(0)()
        return self

    def time_since(self, start: "Event") -> float:
        if self._at is None or start._at is None:
            raise LogicError("cuEventElapsedTime failed: device not ready or event not recorded")
        return (self._at - start._at) * 1e3

    def time_till(self, end: "Event") -> float:
        return end.time_since(self)
