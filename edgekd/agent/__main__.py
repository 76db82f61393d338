"""Start the agent: ``probe``, or ``build`` and its like with a REQUEST.json.

A request with "alone" ({"client", "wait_s"}) is done under the machine's lock; who has it in the
meantime is told by a line "waiting".

Exit status: 0 done, 1 an "error" line was written, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any, Dict, List

from .protocol import AgentError, claim_stdout, emit, read_request

_USAGE = "usage: agent probe | (build | time | layers | run | infer) REQUEST.json"
_VERBS = (
    ("probe", 0),
    ("build", 1),
    ("time", 1),
    ("layers", 1),
    ("run", 1),
    ("infer", 1),
    ("worker", 5),
)  # and how many arguments each takes


def main() -> int:
    """Do what the command line says and return the exit status."""
    arguments = sys.argv[1:]
    claim_stdout()
    try:
        known = _obey(arguments)
    except AgentError as error:
        emit("error", kind=error.kind, message=str(error))
        return 1
    except (KeyboardInterrupt, BrokenPipeError):  # the host has gone, or wants an end
        return 130
    if not known:
        print(_USAGE, file=sys.stderr)
        return 2
    if arguments[0] != "worker":
        emit("done")
    return 0


def _obey(arguments: List[str]) -> bool:
    """Follow the command line; False: it cannot be understood."""
    command, rest = " ".join(arguments[:1]), arguments[1:]
    if (command, len(rest)) not in _VERBS:
        return False
    if command == "probe":
        from . import board

        emit("probe", **board.probe())
    elif command == "worker":
        from . import worker

        worker.serve(rest[0], rest[1], rest[2], int(rest[3]), int(rest[4]))
    else:
        request = read_request(rest[0])
        with ExitStack() as stack:
            if "alone" in request:
                _wait_until_alone(stack, **request["alone"])
            _work(command, request)
    return True


def _work(command: str, request: Dict[str, Any]) -> None:
    if command == "build":
        from . import build

        build.build(request)
    elif command == "time":
        from .engines import trtexec

        trtexec.time(request)
    elif command == "layers":
        from . import layer_times

        layer_times.measure(request)
    elif command == "run":
        from . import interleave

        interleave.run(request)
    else:
        from . import infer

        infer.infer(request)


def _wait_until_alone(stack: ExitStack, client: str, wait_s: float) -> None:
    """Hold the machine's lock until ``stack`` ends; behind a landing, that one has it already."""
    from . import landing

    try:
        stack.enter_context(landing.alone(client, wait_s, emit))
    except landing.RefusedError as error:
        raise AgentError("board", str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
