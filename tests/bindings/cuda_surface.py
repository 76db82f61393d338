"""Print cuda-python's runtime functions with their numbers of arguments, and three enumerations."""

import json
import re

from cuda.bindings import runtime


def _arguments(name: str) -> int:
    first = (getattr(runtime, name).__doc__ or "").partition("\n")[0]
    found = re.fullmatch(rf"{name}\((.*)\)", first)
    return len([one for one in found[1].split(",") if one.strip()]) if found else -1


functions = {name: _arguments(name) for name in dir(runtime) if callable(getattr(runtime, name))}
enums = {
    kind: {one.name: int(one) for one in getattr(runtime, kind)}
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode", "cudaDeviceAttr")
}
print("RESULT", json.dumps({"functions": functions, "enums": enums}))  # noqa: T201
