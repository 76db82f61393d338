"""Everything that edgekd raises on purpose.

EdgekdError                 2   the user's mistake, unless a child says otherwise
├── UsageError              2   arguments or recipe
├── DataError               2   images, labels, folders
├── CheckpointError         2   a model file that does not fit
├── RecordError             2   a record that cannot be read or was tampered with
├── InconclusiveError       3   noise, throttling, too few samples
├── EnvironmentMissingError 4   a package, a program or a file system that cannot serve
├── DeviceError             4   a device missing, unreachable or misbehaving
└── ExportError             5   export or engine build failed

The number is the exit status of the command line. An error says what was found, what was expected
and how to mend it. Anything else that is raised is an internal fault and keeps its traceback.
"""

import difflib
from collections.abc import Iterable

INTERNAL_FAULT = 70  # the exit status of whatever is none of these


class EdgekdError(Exception):
    """The root of edgekd's own errors."""

    exit_status = 2


class UsageError(EdgekdError):
    """An argument or a recipe that cannot be followed."""


class DataError(EdgekdError):
    """Images or labels that cannot be used."""


class CheckpointError(EdgekdError):
    """A checkpoint or a weights file that does not fit."""


class RecordError(EdgekdError):
    """A record that cannot be read, or whose file was changed after it was written."""


class InconclusiveError(EdgekdError):
    """A measurement that cannot answer the question."""

    exit_status = 3


class EnvironmentMissingError(EdgekdError):
    """A package, a program or space on the disk that is missing."""

    exit_status = 4


class DeviceError(EdgekdError):
    """A device that is missing, unreachable or misbehaving."""

    exit_status = 4


class ExportError(EdgekdError):
    """A model that cannot be exported or built for a target."""

    exit_status = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'? There are: ..." for a name that is not among the known ones."""
    there = sorted(known)
    close = difflib.get_close_matches(name, there, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"{hint} There are: {', '.join(there)}."
