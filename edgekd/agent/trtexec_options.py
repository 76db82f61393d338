"""The options of trtexec, TensorRT's own program, in each of its versions.

Versions differ in their options, and in what they measure by default: up to 10.16 a run copies the
images, waits asleep and launches each kernel; from 11.0 it copies nothing, spins and replays a CUDA
graph. Here all three are said by options, so that the numbers of all versions mean the same.
Source: NVIDIA/TensorRT, samples/common/sampleOptions.cpp at the tags of 8.5 to 11.1.
"""

from __future__ import annotations

import mmap
import re
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from .protocol import AgentError

Version = Tuple[int, int, int]

_OLDEST, _NEWEST = (8, 5), (11, 1)  # between them the table below is known to hold
_ALWAYS = (0, 0), (99, 99)
# The versions, from and to, that have an option; those not named here are in all.
_SPANS: Dict[str, Tuple[Tuple[int, int], Tuple[int, int]]] = {
    "--buildOnly": (_OLDEST, (8, 6)),
    "--skipInference": ((8, 6), _ALWAYS[1]),
    "--builderOptimizationLevel": ((8, 6), _ALWAYS[1]),
    "--fp16": (_OLDEST, (10, 16)),
    "--int8": (_OLDEST, (10, 16)),
    "--stronglyTyped": ((10, 0), (10, 16)),  # 11 is always so
    "--useCudaGraph": (_OLDEST, (10, 16)),
    "--useSpinWait": (_OLDEST, (10, 16)),
    "--noDataTransfers": (_OLDEST, (10, 16)),
    "--separateProfileRun": (_OLDEST, (10, 16)),
    "--includeDataTransfers": ((11, 0), _ALWAYS[1]),
}
_FIRST_OF_10 = 100000
_WEAK = {"fp32": [], "fp16": ["--fp16"], "int8": ["--fp16", "--int8"]}
_QDQ = b"\x22\x0eQuantizeLinear"  # an ONNX node's operator, as protobuf writes it


class Tool(NamedTuple):
    """A trtexec on this machine."""

    path: str
    version: Version
    flags: Optional[FrozenSet[str]] = None  # from its help; None: the table knows its version

    def has(self, flag: str) -> bool:
        """Say whether it takes an option."""
        if self.flags is not None:
            return flag in self.flags
        first, last = _SPANS.get(flag, _ALWAYS)
        return first <= self.version[:2] <= last

    def dotted(self) -> str:
        """Return its version: "10.3.0"."""
        return "%d.%d.%d" % self.version


def tool_from_help(path: str, text: str) -> Optional[Tool]:
    """Return what ``trtexec --help`` says of itself; None: it is no trtexec."""
    version = version_of(text)
    if version is None:
        return None
    known = _OLDEST <= version[:2] <= _NEWEST
    return Tool(path, version, None if known else frozenset(re.findall(r"--\w+", text)))


def version_of(text: str) -> Optional[Version]:
    """Read the version from trtexec's output: "8.6.2" from "v8602", "10.3.0" from "v100300"."""
    plain = re.search(r"TensorRT version: (\d{1,4})\.(\d{1,4})\.(\d{1,4})", text)
    if plain:
        return int(plain.group(1)), int(plain.group(2)), int(plain.group(3))
    packed = re.search(r"\[TensorRT v(\d{4,9})\]", text)
    if not packed:
        return None
    number = int(packed.group(1))
    unit = 100 if number >= _FIRST_OF_10 else 10  # 10.3.0 is 100300, 8.6.2 is 8602
    return number // (unit * 100), number // 100 % unit, number % 100


def is_weak(program: Tool, request: Dict[str, Any]) -> bool:
    """Say whether TensorRT chooses the types: before 10 always, from 11 never, else as asked.

    Raises:
        AgentError: this version cannot do what the request asks.
    """
    wanted = request.get("typing") or "auto"
    if wanted not in ("auto", "strong", "weak"):
        raise AgentError("request", "typing must be auto, strong or weak, not %r" % (wanted,))
    old = program.version < (10, 0, 0)
    if (wanted == "strong" and old) or (wanted == "weak" and not program.has("--fp16")):
        raise AgentError(
            "request",
            "TensorRT %s has no %s typing: leave it to 'auto'" % (program.dotted(), wanted),
        )
    return old or wanted == "weak"


def build_argv(program: Tool, request: Dict[str, Any], plan: str) -> List[str]:
    """Return the command line that builds ``request["model"]`` into the file ``plan``.

    Raises:
        AgentError: this version cannot do what the request asks.
    """
    argv = [program.path, "--onnx=%s" % request["model"], "--saveEngine=%s" % plan]
    argv += ["--skipInference" if program.has("--skipInference") else "--buildOnly"]
    argv += ["--profilingVerbosity=detailed", *_typing(program, request)]
    if request.get("workspace_mib") is not None:
        argv.append("--memPoolSize=workspace:%dM" % int(request["workspace_mib"]))
    if request.get("timing_cache"):
        argv.append("--timingCacheFile=%s" % request["timing_cache"])
    if request.get("optimization_level") is not None:
        _need(program, "--builderOptimizationLevel", "an optimisation level")
        argv.append("--builderOptimizationLevel=%d" % int(request["optimization_level"]))
    if request.get("dla_core") is not None:
        argv.append("--useDLACore=%d" % int(request["dla_core"]))
        argv += ["--allowGPUFallback"] if request.get("gpu_fallback") else []
    for key in ("min", "opt", "max") if request.get("profiles") else ():
        argv.append("--%sShapes=%s" % (key, _shapes(request["profiles"], key)))
    if request.get("layers"):
        argv.append("--exportLayerInfo=%s" % request["layers"])
    return argv


def timing_argv(program: Tool, request: Dict[str, Any], times: str, profile: str) -> List[str]:
    """Return the command line that times the engine ``request["plan"]``.

    A CUDA graph, spinning, and no copies unless ``request["transfers"]``, in every version.
    """
    argv = [
        program.path,
        "--loadEngine=%s" % request["plan"],
        "--warmUp=%d" % int(request.get("warmup_ms", 1000)),
        "--duration=%d" % int(request.get("seconds", 10)),
        "--iterations=%d" % int(request.get("iterations", 200)),
        "--avgRuns=1",
        "--percentile=50,90,95,99",
        "--exportTimes=%s" % times,
        "--exportProfile=%s" % profile,
    ]
    defaults = ["--useCudaGraph", "--useSpinWait", "--separateProfileRun"]
    argv += [flag for flag in defaults if program.has(flag)]
    wanted = "--includeDataTransfers" if request.get("transfers") else "--noDataTransfers"
    argv += [wanted] if program.has(wanted) else []
    if request.get("profiles"):
        argv.append("--shapes=%s" % _shapes(request["profiles"], "opt"))
    if request.get("dla_core") is not None:
        argv.append("--useDLACore=%d" % int(request["dla_core"]))
    if request.get("layers"):
        argv += ["--exportLayerInfo=%s" % request["layers"], "--profilingVerbosity=detailed"]
    return argv


def has_qdq(path: str) -> bool:
    """Say whether an ONNX file has QuantizeLinear nodes, without a package that reads ONNX.

    Raises:
        AgentError: the file is missing or empty.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(_QDQ) >= 0
    except (OSError, ValueError) as error:
        raise AgentError("model", "'%s' cannot be read: %s" % (path, error)) from error


def _typing(program: Tool, request: Dict[str, Any]) -> List[str]:
    """Return the options of precision: none where the graph alone decides."""
    if not is_weak(program, request):
        return ["--stronglyTyped"] if program.has("--stronglyTyped") else []
    quantised = has_qdq(request["model"])
    precision = request.get("precision") or ("int8" if quantised else "fp16")
    if precision not in _WEAK:
        raise AgentError("request", "precision must be one of %s" % ", ".join(_WEAK))
    if precision == "int8" and not quantised:  # trtexec would make ranges up
        raise AgentError("request", "'%s' has no Q/DQ to build INT8 from" % request["model"])
    return _WEAK[precision]


def _need(program: Tool, flag: str, what: str) -> None:
    if not program.has(flag):
        raise AgentError("request", "TensorRT %s cannot do %s" % (program.dotted(), what))


def _shapes(profiles: Dict[str, Any], key: str) -> str:
    """Write sizes as trtexec reads them: "images:1x3x224x224,mask:1x1"."""
    for name in profiles:
        if not name or set(name) & set(",:'"):
            raise AgentError("request", "trtexec cannot be told of an input called '%s'" % name)
    return ",".join(
        "%s:%s" % (name, "x".join(str(int(size)) for size in sizes[key]))
        for name, sizes in profiles.items()
    )
