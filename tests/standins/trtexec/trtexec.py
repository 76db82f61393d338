# ruff: noqa: T201  a program prints
"""A trtexec for machines without a GPU, as strict as the real one of each version.

It knows the options of its version from tests/facts, prints what NVIDIA's sources print, and writes
the JSON files in their layout: names without escapes, C++'s numbers. An "engine" is a plan header
and the ONNX file behind it; it is timed by running that file in ONNX Runtime, so that the times are
measured and not made up. Environment: STANDIN_TRTEXEC is the version, STANDIN_TRTEXEC_FAULT one of
"no-gpu", "killed", "crash", "no-banner", "no-file", and "hang", which writes the number of its
process as the plan.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if "--help" not in sys.argv:  # they take half a second
    import numpy as np
    import onnx
    import onnxruntime

FACTS = json.loads((Path(__file__).parents[2] / "facts" / "trtexec_flags.json").read_text())
VERSION = os.environ.get("STANDIN_TRTEXEC", "10.3.0")
FAULT = os.environ.get("STANDIN_TRTEXEC_FAULT", "")
NUMBERS = tuple(int(part) for part in VERSION.split("."))
MAJOR, MINOR, PATCH = NUMBERS
PACKED = MAJOR * (10000 if MAJOR > 9 else 1000) + MINOR * 100 + PATCH
BUILD = " [b30]" if NUMBERS >= (10, 8, 0) else ""
BANNER = f"TensorRT.trtexec [TensorRT v{PACKED}]{BUILD} # {' '.join(sys.argv)}"
TYPES = {1: ("Float", "FP32"), 3: ("Int8", "Int8"), 10: ("Half", "FP16"), 6: ("Int32", "Int32")}


class RefusedError(Exception):
    """The real one prints this and ends with status 1."""


def flags() -> set[str]:
    """Return the options of this version; one that the facts lack has those of its neighbour."""
    names = [tuple(int(part) for part in (*name.split("."), "0")[:3]) for name in FACTS["versions"]]
    column = max(index for index, name in enumerate(names) if name[:2] <= NUMBERS[:2])
    return {flag for flag, there in FACTS["flags"].items() if there[column] == "1"}


def say(severity: str, text: str) -> None:
    """Print a line of the log: errors and warnings on stderr."""
    out = sys.stderr if severity in "WEF" else sys.stdout
    print(f"[11/21/2026-10:00:01] [{severity}] {text}", file=out, flush=True)


def number(value: float) -> str:
    """Write a number as C++ streams do: six significant digits."""
    return f"{value:.6g}"


def parse(arguments: list[str]) -> dict[str, str]:
    """Read the options, and refuse those that this version does not have."""
    known = flags() - ({"--fp16", "--int8", "--best", "--calib"} if MAJOR > 10 else set())
    found = dict(argument.partition("=")[::2] for argument in arguments)
    unknown = [flag for flag in found if flag not in known]
    if unknown:
        print("\n".join(sorted(known)))
        raise RefusedError("\n".join(f"Unknown option: {flag} {found[flag]}" for flag in unknown))
    return found


def dynamic(model: onnx.ModelProto) -> bool:
    """Say whether an input has a size that is not fixed."""
    return any(
        not dim.HasField("dim_value")
        for value in model.graph.input
        for dim in value.type.tensor_type.shape.dim
    )


def check(options: dict[str, str], model: onnx.ModelProto) -> None:
    """Refuse what the real one refuses of a graph."""
    if any(flag in options for flag in ("--minShapes", "--optShapes", "--maxShapes", "--shapes")):
        if not dynamic(model):
            raise RefusedError("Static model does not take explicit shapes")
    elif dynamic(model):
        say("W", "Dynamic dimensions required, but no shapes were provided: set to 1")
    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    strong = MAJOR > 10 or "--stronglyTyped" in options
    if strong and MAJOR == 10 and {"--fp16", "--int8"} & set(options):
        say("W", "--stronglyTyped: precision flags are ignored")
    if quantised and not strong and "--int8" not in options:
        raise RefusedError("Networks with Q/DQ layers need the INT8 flag")
    if options.get("--useDLACore") is not None:
        raise RefusedError("Cannot create DLA engine, 0 not available")


def build(options: dict[str, str]) -> bytes:
    """Make a plan: a header of 28 bytes and the ONNX file."""
    try:
        data = Path(options["--onnx"]).read_bytes()
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model)
    except (OSError, onnx.checker.ValidationError, Exception) as error:
        say("E", f"[TRT] ModelImporter.cpp: {str(error).splitlines()[0]}")
        say("E", "Failed to parse onnx file")
        say("I", "Finished parsing network model. Parse time: 0.0121")
        say("E", "Parsing model failed")
        say("E", "Failed to create engine from model or file.")
        raise RefusedError("Engine set up failed") from error
    check(options, model)
    if "--timingCacheFile" in options:
        Path(options["--timingCacheFile"]).write_bytes(b"timings")  # its folder must be there
    say("I", "Engine built in 0.5 sec.")
    header = b"ftrt" + bytes(20) + bytes([MAJOR, MINOR, PATCH, 0])
    return header + data


def load(options: dict[str, str]) -> bytes:
    """Read a plan of this version."""
    plan = Path(options["--loadEngine"]).read_bytes()
    if plan[:4] != b"ftrt" or plan[24:27] != bytes([MAJOR, MINOR, PATCH]):
        say("E", "Error Code 6: the engine plan file is not compatible with this version")
        raise RefusedError("Engine deserialization failed")
    return plan


def engine_layers(model: onnx.ModelProto) -> list[dict[str, Any]]:
    """Describe the layers as the inspector of this version does."""
    typed = onnx.shape_inference.infer_shapes(model).graph
    values = {value.name: value for value in [*typed.value_info, *typed.input, *typed.output]}

    def tensor(name: str) -> dict[str, Any]:
        kind = values[name].type.tensor_type
        word, old = TYPES[kind.elem_type]
        shown = {"Format": "kLINEAR", "Datatype": word} if MAJOR > 10 else {
            "Format/Datatype": f"Row major linear {old}"}  # fmt: skip
        sizes = [dim.dim_value or -1 for dim in kind.shape.dim]
        return {"Name": name, "Location": "Device", "Dimensions": sizes, **shown}

    return [
        {
            "Name": node.name,
            "LayerType": node.op_type,
            "Inputs": [tensor(name) for name in node.input if name in values],
            "Outputs": [tensor(name) for name in node.output],
            "Metadata": f"[ONNX Layer: {node.name}]",
        }
        for node in model.graph.node
    ]


def layer_info(model: onnx.ModelProto, *, detailed: bool) -> str:
    """Write the inspector's JSON: its schema changed with 11."""
    layers = engine_layers(model)
    shown = layers if detailed else [layer["Name"] for layer in layers]
    ends = [*model.graph.input, *model.graph.output]
    if MAJOR > 10:
        return json.dumps({"Layers": shown, "I/O Tensors": [{"Name": one.name} for one in ends]})
    return json.dumps({"Layers": shown, "Bindings": [one.name for one in ends]})


def session(model: onnx.ModelProto, profile: str = "") -> onnxruntime.InferenceSession:
    """Open the graph as it stands, so that its nodes are the layers."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    settings.enable_profiling = bool(profile)
    settings.profile_file_prefix = profile
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def feed(model: onnx.ModelProto, options: dict[str, str]) -> dict[str, Any]:
    """Make the inputs, of the sizes that were asked for."""
    asked = dict(
        part.rpartition(":")[::2] for part in options.get("--shapes", "").split(",") if part
    )
    inputs = {}
    for value in model.graph.input:
        sizes = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        if value.name in asked:
            sizes = [int(size) for size in asked[value.name].split("x")]
        inputs[value.name] = np.zeros(sizes, np.float32)
    return inputs


def infer(model: onnx.ModelProto, options: dict[str, str]) -> None:
    """Time inferences, print the summary and write the files that were asked for."""
    runner, inputs = session(model), feed(model, options)
    runs = int(options.get("--iterations", "10"))
    begin, times = time.perf_counter(), []
    for _ in range(runs):
        start = time.perf_counter()
        runner.run(None, inputs)
        times.append((1000 * (start - begin), 1000 * (time.perf_counter() - begin)))
    summary([end - start for start, end in times])
    if "--exportTimes" in options:
        rows = [
            "{ "
            + ", ".join(f'"{key}" : {number(value)}' for key, value in trace(start, end).items())
            + " }"
            for start, end in times
        ]
        write(options["--exportTimes"], "[\n  " + "\n, ".join(rows) + "\n]\n")
    if "--exportProfile" in options:
        write(options["--exportProfile"], layer_profile(model, inputs))


def trace(start: float, end: float) -> dict[str, float]:
    """Return the entry of an inference: nothing is copied here."""
    parts = ("Enq", "H2d", "Compute", "D2h")
    begins, spent = (start, start, start, end), {"compute": end - start, "latency": end - start}
    entry = {}
    for part, begin in zip(parts, begins, strict=True):
        stop = start if part == "H2d" else end
        entry |= {f"start{part}Ms": begin, f"end{part}Ms": stop}
    return entry | {
        f"{part}Ms": spent.get(part, 0.0) for part in ("h2d", "compute", "d2h", "latency")
    }


def summary(times: list[float]) -> None:
    """Print what people read."""
    say("I", f"Timing trace has {len(times)} queries over {number(sum(times) / 1000)} s")
    say("I", "=== Performance summary ===")
    shown = f"min = {number(min(times))} ms, max = {number(max(times))} ms, mean = "
    shown += f"{number(statistics.mean(times))} ms, median = {number(statistics.median(times))} ms"
    say("I", f"Throughput: {number(1000 / statistics.mean(times))} qps")
    for what in ("Latency", "Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency"):
        say("I", f"{what}: {shown}")
    variance = 100 * statistics.pstdev(times) / statistics.mean(times)
    say("W", f"* GPU compute time is unstable, with coefficient of variance = {number(variance)}%.")


def layer_profile(model: onnx.ModelProto, inputs: dict[str, Any], runs: int = 3) -> str:
    """Measure each node and write its times; nodes that took no time are there with 0."""
    with tempfile.TemporaryDirectory() as folder:
        runner = session(model, str(Path(folder) / "p"))
        for _ in range(runs):
            runner.run(None, inputs)
        events = json.loads(Path(runner.end_profiling()).read_text())
    spent: dict[str, list[float]] = {node.name: [] for node in model.graph.node}
    for event in events:
        name = event.get("name", "").removesuffix("_kernel_time")
        if name in spent and name != event["name"]:
            spent[name].append(event["dur"] / 1000)
    total = sum(sum(values) for values in spent.values())
    rows = [f'{{ "count" : {runs} }}']
    for name, values in spent.items():
        share = number(100 * sum(values) / total) if total else "-nan"
        rows.append(
            f'{{ "name" : "{name}", "timeMs" : {number(sum(values))}, '
            f'"averageMs" : {number(sum(values) / runs)}, '
            f'"medianMs" : {number(statistics.median(values or [0.0]))}, "percentage" : {share} }}'
        )
    return "[\n  " + "\n, ".join(rows) + "\n]\n"


def write(path: str, text: str) -> None:
    """Write a file, unless this is the fault to be played."""
    if FAULT != "no-file":
        Path(path).write_text(text, encoding="utf-8")


def work(arguments: list[str]) -> None:
    """Do what the command line asks."""
    options = parse(arguments)
    if FAULT == "no-gpu":
        print("Cannot find any available devices (GPUs)!", file=sys.stderr)
        sys.exit(1)
    say("I", "=== Device Information ===")
    say("I", f"TensorRT version: {VERSION}")
    plan = build(options) if "--onnx" in options else load(options)
    model = onnx.load_from_string(plan[28:])
    if "--saveEngine" in options and FAULT not in ("no-file", "hang"):
        Path(options["--saveEngine"]).write_bytes(plan)
    if FAULT == "hang":
        Path(options["--saveEngine"]).write_text(str(os.getpid()))
        time.sleep(60)
    if "--exportLayerInfo" in options:
        detailed = options.get("--profilingVerbosity") == "detailed"
        write(options["--exportLayerInfo"], layer_info(model, detailed=detailed))
    if not {"--skipInference", "--buildOnly"} & set(options):
        infer(model, options)


def main() -> int:
    """Run, with the banners and the status of the real one."""
    if FAULT in ("killed", "crash"):
        os.kill(os.getpid(), 9 if FAULT == "killed" else 11)
    if FAULT != "no-banner":
        print(f"&&&& RUNNING {BANNER}", flush=True)
    if "--help" in sys.argv:
        print("\n".join(f"  {flag}=<value>  what it does" for flag in sorted(flags())))
        return 0
    try:
        work(sys.argv[1:])
    except RefusedError as error:
        for line in str(error).splitlines():
            say("E", line)
        if MAJOR < 11 or "Unknown option" not in str(error):
            print(f"&&&& FAILED {BANNER}", file=sys.stderr)
        return 1
    print(f"&&&& PASSED {BANNER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
