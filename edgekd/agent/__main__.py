"""Start the agent: ``probe``, or ``build`` and its like with a REQUEST.json.

Exit status: 0 done, 1 an "error" line was written, 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import List

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
    elif command == "build":
        from . import build

        build.build(read_request(rest[0]))
    elif command == "time":
        from .engines import trtexec

        trtexec.time(read_request(rest[0]))
    elif command == "layers":
        from . import layer_times

        layer_times.measure(read_request(rest[0]))
    elif command == "run":
        from . import interleave

        interleave.run(read_request(rest[0]))
    elif command == "infer":
        from . import infer

        infer.infer(read_request(rest[0]))
    else:
        from . import worker

        worker.serve(rest[0], rest[1], rest[2], int(rest[3]), int(rest[4]))
    return True


if __name__ == "__main__":
    sys.exit(main())
