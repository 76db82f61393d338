"""What the agent says: one JSON object a line on stdout; and what it reads: a request in JSON.

Each line has ``schema_version`` and ``type``. The last one is "done" or "error"; after an error the
exit status is 1. Logs go to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List, Optional, TextIO

SCHEMA_VERSION = 1

_stdout: List[Optional[TextIO]] = [None]


class AgentError(Exception):
    """Something that the host must hear about.

    Args:
        kind: "model" (the file cannot be opened or run), "engine" (its runtime is missing),
            "request" (what the host asked for cannot be done) or "board" (somebody else uses it).
        message: what was found and what was expected.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def claim_stdout() -> None:
    """Keep stdout for JSON lines: what a native library prints goes to stderr from now on."""
    sys.stdout.flush()
    _stdout[0] = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def emit(line_type: str, **fields: Any) -> None:
    """Write one line and flush it."""
    line = {"schema_version": SCHEMA_VERSION, "type": line_type}
    line.update(fields)
    out = _stdout[0] or sys.stdout
    out.write(json.dumps(line) + "\n")
    out.flush()


def forward(line: Dict[str, Any], **fields: Any) -> None:
    """Pass on a worker's line, with ``fields`` added."""
    rest = {key: value for key, value in line.items() if key not in ("schema_version", "type")}
    rest.update(fields)
    emit(line["type"], **rest)


def read_request(path: str) -> Dict[str, Any]:
    """Read a request.

    Raises:
        AgentError: it is missing, not JSON, or of another schema version.
    """
    try:
        with open(path, encoding="utf-8") as file:
            request = json.load(file)
    except (OSError, ValueError) as error:
        raise AgentError(
            "request", "the request '%s' cannot be read: %s" % (path, error)
        ) from error
    found = request.get("schema_version") if isinstance(request, dict) else None
    if found != SCHEMA_VERSION:
        raise AgentError(
            "request",
            "the request '%s' has schema version %r, but this agent speaks %d: send the agent anew"
            % (path, found, SCHEMA_VERSION),
        )
    return dict(request)
