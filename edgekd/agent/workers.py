"""The process that holds one model, seen from the agent that tells it when it is its turn."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any, Dict, List

from .protocol import AgentError


class Worker:
    """The process that holds one model.

    Args:
        command: that starts it.
        name: of the subject, for messages.
    """

    def __init__(self, command: List[str], name: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            bufsize=1,
        )
        self.pid = self._process.pid

    def close(self) -> None:
        """End the process, which holds nothing that would have to be saved."""
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> Dict[str, Any]:
        """Send a command and return the answer.

        Raises:
            AgentError: the worker says that it failed, or ends.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: what it said last tells why
        return self.listen()

    def listen(self) -> Dict[str, Any]:
        """Return the worker's next line; see ``ask``."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            status = self._process.wait()
            raise AgentError(
                "model",
                "the process that ran '%s' ended with status %d%s"
                % (self.name, status, _why(status)),
            )
        line = dict(json.loads(text))
        if line["type"] == "error":
            raise AgentError(line["kind"], line["message"])
        return line


def own_command() -> List[str]:
    """Return how this agent was started: as a module, or as a zipapp."""
    main = sys.modules["__main__"]
    package = getattr(getattr(main, "__spec__", None), "parent", "")
    return [sys.executable, "-m", package] if package else [sys.executable, sys.argv[0]]


def _why(status: int) -> str:
    if status == -signal.SIGKILL:  # nobody but the kernel kills it: the out-of-memory killer
        return " (killed: was there enough memory?)"
    return ""
