"""Engine files: the head of a plan, and the JSON beside it that says what it is.

A plan is machine code that TensorRT trusts, so nothing is loaded but what ``build`` wrote, byte for
byte, by this version of TensorRT. Source of the head's layout: TensorRT's samples (trtexec prints
a plan's version from it), for engines of 8.6 and later.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from typing import Any, Dict, NamedTuple, Tuple

from .protocol import SCHEMA_VERSION, AgentError

_TAG = b"ftrt"
_HEAD = struct.Struct("<4sI16x4B")  # tag, version of the format, ..., version of TensorRT


class Head(NamedTuple):
    """What the first 28 bytes of a plan say."""

    format: int  # 0 is known
    version: Tuple[int, int, int, int]  # of the TensorRT that wrote it; the build, modulo 256


def sidecar(path: str) -> str:
    """Return where the JSON of a plan lies."""
    return path + ".json"


def head_of(content: bytes, path: str) -> Head:
    """Read the head of a plan.

    Args:
        content: of the file; its first 28 bytes are enough.
        path: for messages.

    Raises:
        AgentError: it is no plan, or of a form that nothing is known of.
    """
    if len(content) < _HEAD.size or content[: len(_TAG)] != _TAG:
        raise AgentError(
            "model",
            "'%s' is no TensorRT plan that can be judged: it begins with %r, and a plan with %r"
            % (path, content[: len(_TAG)], _TAG),
        )
    _, form, major, minor, patch, build = _HEAD.unpack_from(content)
    return Head(form, (major, minor, patch, build))


def load(path: str, version: str) -> Tuple[bytes, Dict[str, Any]]:
    """Read a plan that ``build`` wrote, and its JSON.

    Args:
        path: of the plan.
        version: of the TensorRT that is to load it, such as "10.3.0".

    Raises:
        AgentError: a file is missing or was changed, or the plan is of another version.
    """
    content = _read(path, "plan")
    _check_version(head_of(content, path), version, path)
    record = _record(path)
    found = hashlib.sha256(content).hexdigest()
    if found != record.get("plan_sha256"):
        raise AgentError(
            "model",
            "'%s' is not the plan that '%s' tells of: its SHA-256 is %s, expected is %s. Build it "
            "again" % (path, sidecar(path), found, record.get("plan_sha256")),
        )
    return content, record


def write(path: str, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Raises:
        AgentError: the place cannot be written to, or is full.
    """
    folder = os.path.dirname(os.path.abspath(path))
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=".edgekd-", dir=folder)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise AgentError("request", "'%s' cannot be written: %s" % (path, error)) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        AgentError: it is missing.
    """
    return hashlib.sha256(_read(path, "file")).hexdigest()


def _check_version(head: Head, version: str, path: str) -> None:
    if head.format != 0:
        raise AgentError(
            "model", "'%s' has a plan's format %d, but only 0 is known" % (path, head.format)
        )
    wanted = [int(part) & 0xFF for part in version.split(".")[:4] if part.isdigit()]
    if list(head.version[: len(wanted)]) != wanted:
        raise AgentError(
            "model",
            "'%s' was built by TensorRT %s, but here is %s: build it again on this machine"
            % (path, ".".join(map(str, head.version[:3])), version),
        )


def _record(path: str) -> Dict[str, Any]:
    text = _read(sidecar(path), "record of the plan '%s'" % path)
    try:
        record = json.loads(text.decode("utf-8"))
    except ValueError as error:
        raise AgentError("model", "'%s' is not JSON: %s" % (sidecar(path), error)) from error
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise AgentError("model", "'%s' is no record of schema 1: build again" % sidecar(path))
    return record


def _read(path: str, noun: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise AgentError(
            "model",
            "the %s cannot be read: %s. Plans are used with the JSON that `build` writes beside "
            "them" % (noun, error),
        ) from error
