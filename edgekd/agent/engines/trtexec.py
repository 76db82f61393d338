"""trtexec, TensorRT's own program: it builds and times engines where there is no Python API."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Tuple

from ..layers import Profile, Times, parse_profile, parse_times
from ..protocol import AgentError, emit
from ..timing_cache import TimingCache
from ..trtexec_options import Tool, build_argv, is_weak, timing_argv, tool_from_help

DISTRIBUTIONS: Tuple[str, ...] = ()  # it comes with TensorRT, not as a Python package

_HOME = "/usr/src/tensorrt/bin"  # where JetPack puts it, which is not on the PATH
_OUT_OF_MEMORY = (137, -9)
_CRASHED = (139, -11)


class Timing(NamedTuple):
    """What ``measure`` found."""

    engine: str
    times: Times
    profile: Profile
    warnings: Tuple[str, ...]  # trtexec's own


def load_runtime() -> None:
    """Look for trtexec.

    Raises:
        ImportError: it is nowhere.
    """
    if find() is None:
        raise ImportError("there is no program 'trtexec', neither on the PATH nor in %s" % _HOME)


def find() -> Optional[str]:
    """Return the path of trtexec; None: there is none."""
    return shutil.which("trtexec") or shutil.which("trtexec", path=_HOME)


def version() -> Optional[str]:
    """Return the version of trtexec; None: it is missing, or is no trtexec."""
    try:
        return tool().dotted()
    except AgentError:
        return None


def open_model(path: str, threads: int) -> NoReturn:  # noqa: ARG001  the contract of engines
    """Refuse: a program started for each image is no engine to evaluate or measure with.

    Raises:
        AgentError: always.
    """
    raise AgentError(
        "request",
        "trtexec builds and times engines, but cannot run single images: to run '%s' use the "
        "engine 'tensorrt', which needs TensorRT's Python package" % path,
    )


def tool() -> Tool:
    """Find trtexec and ask for its version, and for its options if the version is not known.

    Raises:
        AgentError: it is missing, or says no version.
    """
    path = find()
    if path is None:
        raise AgentError("engine", "trtexec is neither on the PATH nor in %s" % _HOME)
    text, _ = _start([path, "--help"])
    found = tool_from_help(path, text)
    if found is None:
        raise AgentError("engine", "'%s --help' says no version: %s" % (path, _tail(text)))
    return found


def build(request: Dict[str, Any]) -> Dict[str, Any]:
    """Build and write a plan, whole or not at all; see ``edgekd.agent.build`` for the request.

    What differs from the engine "tensorrt": "profiles" must be left out for a network of fixed
    sizes, and trtexec does not tell what became of a timing cache.

    Raises:
        AgentError: trtexec is missing, refuses the request, fails, or leaves no plan.
    """
    program = tool()
    plan = str(request["plan"])
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(plan))) as scratch:
        fresh = os.path.join(scratch, "plan")
        cache = TimingCache.of(program.dotted(), request.get("timing_cache"))
        argv = build_argv(program, dict(request, timing_cache=cache.path), fresh)
        files = [fresh] + ([request["layers"]] if request.get("layers") else [])
        text = _run(argv, files, "build an engine")
        os.chmod(fresh, 0o600)
        os.replace(fresh, plan)
    weak = [flag[2:].upper() for flag in ("--fp16", "--int8") if flag in argv]
    return {
        "engine": _name(program),
        "typing": "weak" if is_weak(program, request) else "strong",
        "flags": weak,
        "timing_cache": None if cache.path else "off",
        "warnings": list(_warnings(text)),
    }


def time(request: Dict[str, Any]) -> None:
    """Time an engine as ``measure`` does and say it in a line "timed"."""
    found = measure(request)
    emit(
        "timed",
        engine=found.engine,
        inferences=found.profile.inferences,
        layers=[layer._asdict() for layer in found.profile.layers],
        warnings=found.warnings,
        **found.times._asdict(),
    )


def measure(request: Dict[str, Any]) -> Timing:
    """Time an engine, and its layers in a run of their own.

    Request: "plan"; may be left out: "seconds" and "iterations", of which both are fulfilled;
    "warmup_ms"; "transfers" (copy the images too); "profiles" (their "opt" is run); "dla_core";
    "layers" (a file for what TensorRT's inspector says of the layers).

    Raises:
        AgentError: trtexec is missing, fails, or writes what cannot be read.
    """
    program = tool()
    with tempfile.TemporaryDirectory() as scratch:
        times, profile = os.path.join(scratch, "times"), os.path.join(scratch, "profile")
        files = [times, profile] + ([request["layers"]] if request.get("layers") else [])
        text = _run(timing_argv(program, request, times, profile), files, "time the engine")
        read = parse_times(_read(times)), parse_profile(_read(profile))
    return Timing(_name(program), read[0], read[1], _warnings(text))


def _run(argv: List[str], files: List[str], what: str) -> str:
    """Run trtexec and return what it prints; done is status 0, PASSED, and all files there."""
    for path in files:
        if os.path.exists(path):
            os.remove(path)  # or one of an earlier run would pass for the new one
    text, status = _start(argv)
    fault = _fault(text, status)
    missing = [path for path in files if not os.path.isfile(path) or not os.path.getsize(path)]
    if not fault and missing:
        fault = ("engine", "it says PASSED, but wrote no '%s'" % os.path.basename(missing[0]))
    if fault:
        raise AgentError(fault[0], "trtexec could not %s: %s" % (what, fault[1]))
    return text


def _fault(text: str, status: int) -> Optional[Tuple[str, str]]:
    """Return the kind of a failure and its reason; None: it passed."""
    if status in _OUT_OF_MEMORY:
        return "engine", "it was killed, mostly for want of memory: lower workspace_mib"
    if status in _CRASHED:
        return "engine", "it crashed: %s" % _tail(text)
    if "Cannot find any available devices" in text or "Cuda failure" in text:
        return "engine", "there is no usable GPU: %s" % _tail(text)
    if "Unknown option" in text:
        return "request", _tail(text)
    if status != 0 or not re.search(r"^&&&& PASSED ", text, re.MULTILINE):
        return "model", "status %d: %s" % (status, _tail(text))
    return None


def _start(argv: List[str]) -> Tuple[str, int]:
    """Run a program and return stdout with stderr, and its status; it ends with this one."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        return _follow(argv)
    finally:
        signal.signal(signal.SIGTERM, before)


def _follow(argv: List[str]) -> Tuple[str, int]:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C"),
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise AgentError("engine", "'%s' cannot be started: %s" % (argv[0], error)) from error
    try:
        text = process.communicate()[0]
    except BaseException:
        process.kill()
        process.wait()
        raise
    return text, process.returncode


def _tail(text: str) -> str:
    """Return the errors that trtexec printed, or its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line.partition("] [E] ")[2] for line in lines if "] [E] " in line]
    return "; ".join(errors[-5:]) or (lines[-1].strip() if lines else "it printed nothing")


def _warnings(text: str) -> Tuple[str, ...]:
    """Return what trtexec warns of, such as an unstable GPU time."""
    return tuple(re.findall(r"^\[[^\]]*\] \[W\] (?:\* |\[TRT\] )?(.+)$", text, re.MULTILINE))


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _name(program: Tool) -> str:
    return "trtexec %s" % program.dotted()
