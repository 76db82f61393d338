"""trtexec: its options in each version, and what becomes of its output and status.

The program is the stand-in of tests/standins: strict about options, without a GPU.
"""

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from edgekd.agent import __main__, engines
from edgekd.agent import trtexec_options as options
from edgekd.agent.engines import trtexec
from edgekd.agent.protocol import AgentError
from edgekd.remote import lines
from tests import nets
from tests.standins.cudart import build as cudart

TESTS = Path(__file__).parents[1]
FACTS = json.loads((TESTS / "facts" / "trtexec_flags.json").read_text())
VERSIONS = [tuple(int(part) for part in f"{name}.0".split(".")[:3]) for name in FACTS["versions"]]
# What 11 still parses, and no longer does.
DEAD = {
    "--fp16", "--int8", "--stronglyTyped", "--useCudaGraph", "--useSpinWait", "--noDataTransfers",
    "--separateProfileRun",
}  # fmt: skip


def network(path: Path, *, quantised: bool = False, batch: int | str = 1) -> Path:
    scale = [
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "weight")
    source, nodes = "images", []
    if quantised:
        nodes = [
            helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], name="quant"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dequant"),
        ]
        source = "dq"
    nodes += [
        helper.make_node("Conv", [source, "weight"], ["features"], name="conv1/Conv"),
        helper.make_node("Relu", ["features"], ["logits"], name="relu/Relu"),
    ]
    constants = [weight, *(scale if quantised else [])]
    return nets.write(path, nodes, (batch, 3, 8, 8), (batch, 4, 6, 6), constants)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Put the stand-in on the PATH, alone."""
    script = TESTS / "standins" / "trtexec" / "trtexec.py"
    path = tmp_path / "bin" / "trtexec"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\n{script.read_text().replace('__file__', repr(str(script)))}"
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))
    return monkeypatch


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cudart.library(tmp_path_factory.mktemp("cudart"))


def request(folder: Path, **more: object) -> dict[str, object]:
    return {"model": str(folder / "net.onnx"), "plan": str(folder / "net.plan"), **more}


# Options


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8602] # trtexec", (8, 6, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec", (8, 5, 2)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec", (10, 13, 3)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v110100] [b9] # trtexec", (11, 1, 0)),
        ("[11/21/2026-10:00:01] [I] TensorRT version: 8.5.2", (8, 5, 2)),
        ("trtexec: not found", None),
    ],
)
def test_the_version_is_that_of_the_banner(text: str, version: object) -> None:
    assert options.version_of(text) == version


@given(st.text())
def test_any_help_gives_a_version_or_none(text: str) -> None:
    version = options.version_of(f"[TensorRT v{text}] TensorRT version: {text}")
    assert version is None or len(version) == 3


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_each_version_gets_options_that_it_has(version: options.Version, tmp_path: Path) -> None:
    column = VERSIONS.index(version)
    known = {flag for flag, there in FACTS["flags"].items() if there[column] == "1"}
    known -= DEAD if version[0] > 10 else set()
    network(tmp_path / "net.onnx", quantised=True)
    sizes = {"images": {"min": [1, 3, 8, 8], "opt": [2, 3, 8, 8], "max": [4, 3, 8, 8]}}
    full = request(
        tmp_path, workspace_mib=64, timing_cache="c", dla_core=0, gpu_fallback=True, layers="l",
        profiles=sizes,
    )  # fmt: skip
    tool = options.Tool("trtexec", version)
    lines = [options.build_argv(tool, full, "p")]
    lines += [
        options.timing_argv(tool, {**full, "transfers": transfers}, "t", "p")
        for transfers in (False, True)
    ]
    if version >= (8, 6, 0):
        lines.append(options.build_argv(tool, {**full, "optimization_level": 5}, "p"))
    for argv in lines:
        assert {argument.partition("=")[0] for argument in argv[1:]} <= known


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_every_version_measures_alike(version: options.Version) -> None:
    tool = options.Tool("trtexec", version)
    alone = options.timing_argv(tool, {"plan": "p"}, "t", "p")
    copied = options.timing_argv(tool, {"plan": "p", "transfers": True}, "t", "p")
    old = {"--useCudaGraph", "--useSpinWait", "--separateProfileRun"}
    if version[0] > 10:
        assert not old & set(alone)
        assert set(copied) - set(alone) == {"--includeDataTransfers"}
    else:
        assert old <= set(alone) & set(copied)
        assert set(alone) - set(copied) == {"--noDataTransfers"}


@pytest.mark.parametrize(
    ("version", "typing", "quantised", "expected"),
    [
        ((8, 6, 1), "auto", True, {"--fp16", "--int8"}),
        ((8, 6, 1), "auto", False, {"--fp16"}),
        ((8, 6, 1), None, True, {"--fp16", "--int8"}),
        ((10, 3, 0), "auto", True, {"--stronglyTyped"}),
        ((10, 3, 0), "weak", True, {"--fp16", "--int8"}),
        ((11, 1, 0), "auto", True, set()),
        ((11, 1, 0), "strong", True, set()),
    ],
)
def test_precision_is_the_graphs_where_it_can_be(
    version: options.Version,
    typing: str | None,
    quantised: bool,  # noqa: FBT001
    expected: set[str],
    tmp_path: Path,
) -> None:
    network(tmp_path / "net.onnx", quantised=quantised)
    argv = options.build_argv(
        options.Tool("trtexec", version), request(tmp_path, typing=typing), "p"
    )
    assert set(argv) & {"--fp16", "--int8", "--stronglyTyped"} == expected


@pytest.mark.parametrize(
    ("version", "more", "message"),
    [
        ((11, 0, 0), {"typing": "weak"}, "TensorRT 11.0.0 has no weak typing"),
        ((8, 5, 2), {"typing": "strong"}, "TensorRT 8.5.2 has no strong typing"),
        ((10, 3, 0), {"typing": "loose"}, "auto, strong or weak, not 'loose'"),
        ((8, 5, 2), {"optimization_level": 3}, "TensorRT 8.5.2 cannot do an optimisation level"),
        ((8, 6, 1), {"precision": "int8"}, "has no Q/DQ to build INT8 from"),
        ((8, 6, 1), {"precision": "fp8"}, "one of fp32, fp16, int8"),
        ((10, 3, 0), {"profiles": {"a:b": {"min": [1]}}}, "input called 'a:b'"),
    ],
)
def test_what_a_version_cannot_do_is_refused(
    version: options.Version, more: dict[str, object], message: str, tmp_path: Path
) -> None:
    network(tmp_path / "net.onnx")
    with pytest.raises(AgentError, match=message):
        options.build_argv(options.Tool("trtexec", version), request(tmp_path, **more), "p")


def test_an_unknown_version_gets_what_its_help_names() -> None:
    banner = "&&&& RUNNING TensorRT.trtexec [TensorRT v120000] # trtexec --help\n"
    tool = options.tool_from_help("trtexec", f"{banner}  --onnx=<file>  --includeDataTransfers")
    assert tool is not None
    assert tool.has("--includeDataTransfers")
    assert not tool.has("--useCudaGraph")


# The program, through the agent


def test_the_agent_builds_and_times_with_trtexec(
    program: pytest.MonkeyPatch,
    tmp_path: Path,
    library: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program.setenv("EDGEKD_CUDART", str(library))
    network(tmp_path / "net.onnx", quantised=True)
    asked = request(tmp_path, engine="trtexec", schema_version=1, iterations=3, seconds=0)
    (tmp_path / "request.json").write_text(json.dumps(asked))
    for verb in ("build", "time"):
        assert __main__._obey([verb, str(tmp_path / "request.json")])
    built, timed = (lines.parse(line) for line in capsys.readouterr().out.splitlines())
    assert isinstance(built, lines.Built)
    assert (built.record.engine, built.record.tensorrt) == ("trtexec 10.3.0", "10.3.0")
    assert built.record.typing == "strong"
    assert isinstance(timed, lines.Timed)
    assert len(timed.latency_ms) == len(timed.h2d_ms) == 3
    names = [layer.name for layer in timed.layers]
    assert names == ["quant", "dequant", "conv1/Conv", "relu/Relu"]


def test_a_timing_cache_is_kept_for_one_version_and_gpu(
    program: pytest.MonkeyPatch, tmp_path: Path, library: Path
) -> None:
    program.setenv("EDGEKD_CUDART", str(library))
    network(tmp_path / "net.onnx")
    built = trtexec.build(request(tmp_path, timing_cache=str(tmp_path / "caches")))
    assert built["timing_cache"] is None
    (kept,) = (tmp_path / "caches").iterdir()
    assert kept.name.startswith("trt_10.3.0_")


def test_the_agent_tells_trtexecs_version(program: pytest.MonkeyPatch) -> None:
    assert engines.version("trtexec") == "10.3.0"
    program.setenv("PATH", "")
    assert engines.version("trtexec") is None


# The program


@pytest.mark.parametrize("version", ["8.5.3", "8.6.1", "10.3.0", "11.1.0", "11.4.0"])
def test_an_engine_is_built_and_timed(
    version: str, program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program.setenv("STANDIN_TRTEXEC", version)
    network(tmp_path / "net.onnx", quantised=True)
    asked = request(tmp_path, layers=str(tmp_path / "layers.json"))
    assert trtexec.version() == version
    old = version.startswith("8.")
    assert trtexec.build(asked) == {
        "engine": f"trtexec {version}",
        "typing": "weak" if old else "strong",
        "flags": ["FP16", "INT8"] if old else [],
        "timing_cache": "off",
        "warnings": [],
    }
    plan = tmp_path / "net.plan"
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert plan.read_bytes()[24:26] == bytes(int(part) for part in version.split(".")[:2])
    names = [
        layer["Name"] for layer in json.loads((tmp_path / "layers.json").read_text())["Layers"]
    ]
    assert names == ["quant", "dequant", "conv1/Conv", "relu/Relu"]

    timing = trtexec.measure({**asked, "iterations": 5, "seconds": 0})
    assert len(timing.times.latency_ms) == 5
    assert min(timing.times.compute_ms) > 0
    assert [layer.name for layer in timing.profile.layers] == names
    assert "unstable" in timing.warnings[0]


def test_free_sizes_are_passed_on(program: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx", batch="N")
    sizes = {"images": {key: [2, 3, 8, 8] for key in ("min", "opt", "max")}}
    asked = request(tmp_path, profiles=sizes, seconds=0, iterations=1)
    trtexec.build(asked)
    assert len(trtexec.measure(asked).times.latency_ms) == 1


def test_a_graph_that_cannot_be_parsed_is_the_models_fault(
    program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model")
    (tmp_path / "net.plan").write_bytes(b"an older one")
    with pytest.raises(AgentError, match="Engine set up failed") as raised:
        trtexec.build(request(tmp_path))
    assert raised.value.kind == "model"
    assert (tmp_path / "net.plan").read_bytes() == b"an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "net.onnx", "net.plan"]


def test_sizes_for_a_fixed_graph_are_refused(program: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    sizes = {"images": {key: [1, 3, 8, 8] for key in ("min", "opt", "max")}}
    with pytest.raises(AgentError, match="Static model does not take explicit shapes"):
        trtexec.build(request(tmp_path, profiles=sizes))


@pytest.mark.parametrize("version", ["10.3.0", "11.1.0"])
def test_an_option_that_is_not_known_is_the_requests_fault(
    version: str, program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program.setenv("STANDIN_TRTEXEC", version)
    network(tmp_path / "net.onnx")
    argv = options.build_argv(trtexec.tool(), request(tmp_path), str(tmp_path / "p"))
    with pytest.raises(AgentError, match="Unknown option: --fast") as raised:
        trtexec._run([*argv, "--fast"], [], "build")
    assert raised.value.kind == "request"


def test_a_plan_of_another_version_is_refused(program: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    trtexec.build(request(tmp_path))
    program.setenv("STANDIN_TRTEXEC", "10.13.3")
    with pytest.raises(AgentError, match="not compatible with this version"):
        trtexec.measure(request(tmp_path))


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("no-gpu", "engine", "no usable GPU: Cannot find any available devices"),
        ("no-file", "engine", "says PASSED, but wrote no 'plan'"),
    ],
)
def test_a_fault_of_the_machine_is_told_from_one_of_the_model(
    fault: str, kind: str, message: str, program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network(tmp_path / "net.onnx")
    program.setenv("STANDIN_TRTEXEC_FAULT", fault)
    with pytest.raises(AgentError, match=message.replace("(", ".")) as raised:
        trtexec.build(request(tmp_path))
    assert raised.value.kind == kind
    assert not (tmp_path / "net.plan").exists()


@pytest.mark.parametrize(
    ("fault", "message"), [("killed", "want of memory"), ("crash", "it crashed")]
)
def test_a_killed_program_is_named(
    fault: str, message: str, program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = trtexec.tool()
    program.setenv("STANDIN_TRTEXEC_FAULT", fault)
    with pytest.raises(AgentError, match=message):
        trtexec._run([tool.path, "--onnx=net.onnx"], [], "build an engine")


def test_trtexec_ends_with_the_agent(program: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program.setenv("STANDIN_TRTEXEC_FAULT", "hang")
    network(tmp_path / "net.onnx")
    asked = request(tmp_path, engine="trtexec", schema_version=1)
    (tmp_path / "request.json").write_text(json.dumps(asked))
    agent = subprocess.Popen(
        [sys.executable, "-m", "edgekd.agent", "build", str(tmp_path / "request.json")],
        stdout=subprocess.DEVNULL,
    )
    while not (started := [path for path in tmp_path.glob("*/plan") if path.read_text()]):
        assert agent.poll() is None
        time.sleep(0.01)
    number = int(started[0].read_text())
    agent.terminate()
    assert agent.wait(timeout=120) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "net.onnx", "request.json"]


def test_a_program_without_a_banner_is_no_trtexec(program: pytest.MonkeyPatch) -> None:
    program.setenv("STANDIN_TRTEXEC_FAULT", "no-banner")
    with pytest.raises(AgentError, match="says no version"):
        trtexec.tool()


def test_without_trtexec_the_engine_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AgentError, match="neither on the PATH nor in"):
        trtexec.tool()
    with pytest.raises(ImportError, match="trtexec"):
        trtexec.load_runtime()
    assert trtexec.version() is None


def test_a_file_of_an_earlier_run_does_not_pass_for_a_new_one(
    program: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network(tmp_path / "net.onnx")
    asked = request(tmp_path, layers=str(tmp_path / "layers.json"))
    trtexec.build(asked)
    program.setenv("STANDIN_TRTEXEC_FAULT", "no-file")
    with pytest.raises(AgentError, match="wrote no"):
        trtexec.build(asked)
    assert not (tmp_path / "layers.json").exists()


def test_single_images_are_refused_with_the_engine_that_takes_them() -> None:
    with pytest.raises(AgentError, match="use the engine 'tensorrt'"):
        trtexec.open_model("net.plan", 1)


def test_an_operator_is_not_taken_for_the_name_of_a_node(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["images"], ["logits"], name="QuantizeLinear")
    path = nets.write(tmp_path / "net.onnx", [node], (1, 1, 2, 2), (1, 1, 2, 2))
    assert not options.has_qdq(str(path))
    assert options.has_qdq(str(network(tmp_path / "q.onnx", quantised=True)))
