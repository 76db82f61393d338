"""What TensorRT calls back: loggers, profilers, monitors, recorders; and values such as Dims."""

import sys
import time
from collections.abc import Callable
from typing import Any

from ._facts import FACTS
from ._pybind import Native, make_enum, method

ENUMS: dict[str, Any] = {name: make_enum(name, values) for name, values in FACTS["enums"].items()}
Severity = ENUMS["ILogger.Severity"]
_LETTERS = "FEWIV"
_EMPTY = {"bool": False, "int": -1}
_CALLED = {"num_errors": "get_num_errors"}  # C++ looks for another name than it offers


class Dims(Native):
    __slots__ = ("_sizes",)
    __hash__ = None  # type: ignore[assignment]

    def _setup(self, shape: Any = ()) -> None:
        if len(shape) > 8:
            raise ValueError(f"Input length {len(shape)}. Max expected length is 8")
        self._sizes = tuple(shape)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self._sizes[index]
        except IndexError:
            raise IndexError("Out of bounds") from None

    def __repr__(self) -> str:
        return str(self._sizes)


def _equals(dims: Dims, other: Any) -> bool:
    return dims._sizes == tuple(other)


# As in the bindings: equal to a list or a tuple, and comparing with anything else raises, even with
# other Dims.
_OTHERS = [f"(self: Dims, arg0: {kind}) -> bool" for kind in ("list", "tuple")]
Dims.__eq__ = method("__eq__", _OTHERS, _equals, "Dims")


class ILogger(Native):
    __slots__ = ()


class Logger(ILogger):
    """The stock logger: on standard output, errors too."""

    __slots__ = ()

    def _setup(self, min_severity: Any) -> None:
        self._values["min_severity"] = min_severity

    def log(self, severity: Any, msg: str) -> None:
        if int(severity) <= int(self._values["min_severity"]):
            date = time.strftime("%m/%d/%Y-%H:%M:%S")
            print(f"[{date}] [TRT] [{_LETTERS[int(severity)]}] {msg}", flush=True)  # noqa: T201


class IProfiler(Native):
    __slots__ = ()


class Profiler(IProfiler):
    """The stock profiler: on standard output."""

    __slots__ = ()

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        print(f"{layer_name}: {ms:g}ms", flush=True)  # noqa: T201


class IErrorRecorder(Native):
    __slots__ = ()


class IProgressMonitor(Native):
    __slots__ = ()


class IOutputAllocator(Native):
    __slots__ = ()


class IStreamReader(Native):
    __slots__ = ()


class IStreamReaderV2(Native):
    __slots__ = ()


class IStreamWriter(Native):
    __slots__ = ()


INTERFACES = (
    *(ILogger, IProfiler, IErrorRecorder, IProgressMonitor, IOutputAllocator),
    *(IStreamReader, IStreamReaderV2, IStreamWriter),
)


def pure(owner: str, name: str, signature: str) -> Callable[..., Any]:
    """Return what a method that a subclass has to write does where it has not."""
    empty = _EMPTY.get(signature.rpartition(" -> ")[2])
    name = _CALLED.get(name, name)

    def unwritten(*_args: Any) -> Any:
        _complain(name, f'Tried to call pure virtual function "{owner}::{name}"')
        return empty

    return unwritten


def call_back(target: Any, name: str, *args: Any) -> Any:
    """Call a user's method as C++ does: what it raises is printed and swallowed."""
    try:
        return getattr(target, name)(*args)
    except Exception as error:  # noqa: BLE001  as the bindings do
        _complain(name, f"{type(error).__name__}: {error}")
        return None


def _complain(name: str, text: str) -> None:
    print(f"[ERROR] Exception caught in {name}(): {text}", file=sys.stderr, flush=True)  # noqa: T201


class Reporter:
    """Where an object of the library reports errors: its logger, and its recorder if one is set."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def __call__(self, severity: str, text: str) -> None:
        call_back(self.logger, "log", getattr(Severity, severity), text)

    def error(self, text: str, owner: Any = None) -> None:
        self("ERROR", text)
        recorder = owner._values.get("error_recorder") if owner is not None else None
        if recorder is not None:
            call_back(recorder, "report_error", ENUMS["ErrorCodeTRT"].INTERNAL_ERROR, text)
