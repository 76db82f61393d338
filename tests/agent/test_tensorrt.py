"""From ONNX to logits with TensorRT: on its stand-ins, and the same on a board (`-m tensorrt`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.agent import build, engines, infer, layer_times, layers, plan
from edgekd.agent.engines import tensorrt_build
from edgekd.agent.engines.tensorrt_native import native_logger
from edgekd.agent.protocol import AgentError
from edgekd.agent.timing_cache import TimingCache
from edgekd.core.engine import Engine
from tests import nets
from tests.standins.cudart import build as cudart

STANDINS = Path(__file__).parents[1] / "standins"
VERSIONS = ("8.6.1", "10.3.0", "10.13.3", "11.4.0")
KINDS = [*VERSIONS, pytest.param("real", marks=pytest.mark.tensorrt)]
WEIGHTS = [[1, 2, 3, 4], [0, -1, 0, 1]]
IMAGES = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
PROFILE = {"images": {"min": [1, 1, 2, 2], "opt": [2, 1, 2, 2], "max": [4, 1, 2, 2]}}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cudart.library(tmp_path_factory.mktemp("cudart"))


_IMPORTED: dict[str, dict[str, Any]] = {}  # version -> its modules, which are slow to make


def forget() -> dict[str, Any]:
    names = [name for name in sys.modules if name.partition(".")[0] == "tensorrt"]
    return {name: sys.modules.pop(name) for name in names}


@contextlib.contextmanager
def standing_in(version: str, monkeypatch: pytest.MonkeyPatch, library: Path) -> Iterator[Any]:
    monkeypatch.setenv("EDGEKD_STANDIN_TRT", version)
    monkeypatch.setenv("EDGEKD_CUDART", str(library))
    monkeypatch.setenv("PYTHONPATH", str(STANDINS))
    monkeypatch.syspath_prepend(str(STANDINS))
    monkeypatch.delenv("EDGEKD_CUDA", raising=False)
    forget()
    sys.modules.update(_IMPORTED.get(version, {}))
    import tensorrt

    yield tensorrt
    _IMPORTED[version] = forget()


@pytest.fixture(params=KINDS)
def trt(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, library: Path
) -> Iterator[Any]:
    """The module ``tensorrt`` in each version."""
    if request.param == "real":
        yield pytest.importorskip("tensorrt", reason="no TensorRT")
    else:
        with standing_in(request.param, monkeypatch, library) as module:
            yield module


@pytest.fixture
def trt10(monkeypatch: pytest.MonkeyPatch, library: Path) -> Iterator[Any]:
    with standing_in("10.3.0", monkeypatch, library) as module:
        yield module


Build = Callable[..., dict[str, Any]]


@pytest.fixture
def built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Build:
    """Build a file into ``tmp_path``/net.plan and return its record."""

    def run(model: Path, **changes: Any) -> dict[str, Any]:
        build.build(
            {
                "engine": "tensorrt",
                "model": str(model),
                "plan": str(tmp_path / "net.plan"),
                **changes,
            }
        )
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert lines[-1]["type"] == "built"
        return lines[-1]["record"]

    return run


def linear(folder: Path, batch: int | str = 2) -> Path:
    return nets.linear(folder / "net.onnx", WEIGHTS, (1, 2, 2), batch)


def quantised(folder: Path) -> Path:
    """Images through Q and DQ with step 0.5, then flattened."""
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "step"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "step", "zero"], ["whole"]),
        helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["back"]),
        helper.make_node("Flatten", ["back"], ["logits"]),
    ]
    return nets.write(folder / "net.onnx", nodes, (2, 1, 2, 2), (2, 4), constants)


def opened(folder: Path) -> Any:
    return engines.open_model("tensorrt", str(folder / "net.plan"), 1)


def reference(model: Path, images_nchw: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images_nchw})[0]


@pytest.mark.parametrize("net", [linear, quantised])
def test_an_engine_computes_what_its_file_says(
    trt: Any, built: Build, tmp_path: Path, net: Callable[[Path], Path]
) -> None:
    model = net(tmp_path)
    built(model)
    found = opened(tmp_path)
    assert found.input_shape == (2, 1, 2, 2)
    assert np.array_equal(found.infer(IMAGES), reference(model, IMAGES))
    found.close()


def test_bound_runs_write_what_inference_returns(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    found = opened(tmp_path)
    expected = found.infer(IMAGES)
    found.bind(IMAGES)
    found.bound_output()[...] = -1
    found.run()
    assert np.array_equal(found.bound_output(), expected)
    assert found.engine.startswith(f"tensorrt {trt.__version__}, libcudart")
    assert "as a CUDA graph" in found.engine
    found.close()


def test_a_free_batch_takes_every_size_of_its_profile(
    trt: Any, built: Build, tmp_path: Path
) -> None:
    model = linear(tmp_path, "N")
    built(model, profiles=PROFILE)
    found = opened(tmp_path)
    assert found.input_shape == (None, 1, 2, 2)
    for batch in (2, 1, 4, 2):
        images = np.arange(batch * 4, dtype=np.float32).reshape(batch, 1, 2, 2)
        assert np.array_equal(found.infer(images), reference(model, images))
    with pytest.raises(AgentError, match=r"from \[1, 1, 2, 2\] to \[4, 1, 2, 2\].*have \[5, 1"):
        found.infer(np.zeros((5, 1, 2, 2), np.float32))
    found.close()


def test_a_graph_is_forgotten_with_the_shape_that_it_was_for(
    trt: Any, built: Build, tmp_path: Path
) -> None:
    model = linear(tmp_path, "N")
    built(model, profiles=PROFILE)
    found = opened(tmp_path)
    found.bind(IMAGES)
    found.infer(IMAGES[:1])
    found.bound_output()[...] = -1
    found.run()
    assert np.array_equal(found.bound_output(), reference(model, IMAGES[:1]))
    found.close()


def test_the_typing_is_that_of_the_version(trt: Any, built: Build, tmp_path: Path) -> None:
    said = built(quantised(tmp_path))
    strong = int(trt.__version__.split(".")[0]) >= 10
    assert said["typing"] == ("strong" if strong else "weak")
    assert said["flags"] == ([] if strong else ["FP16", "INT8"])


def test_an_impossible_typing_is_refused(trt: Any, built: Build, tmp_path: Path) -> None:
    major = int(trt.__version__.split(".")[0])
    if major == 10:
        assert built(quantised(tmp_path), typing="weak")["flags"] == ["FP16", "INT8"]
        return
    typing = "strong" if major < 10 else "weak"
    with pytest.raises(AgentError, match=f"no {typing} typing: leave it to 'auto'"):
        built(linear(tmp_path), typing=typing)


def test_the_record_names_the_files_and_the_version(trt: Any, built: Build, tmp_path: Path) -> None:
    model = linear(tmp_path)
    said = built(model, workspace_mib=64, optimization_level=1)
    path = tmp_path / "net.plan"
    assert said["tensorrt"] == ".".join(trt.__version__.split(".")[:3])
    assert said["onnx_sha256"] == plan.sha256_of(str(model))
    assert said["plan_sha256"] == plan.sha256_of(str(path))
    assert said["asked"]["workspace_mib"] == 64
    stored = json.loads((tmp_path / "net.plan.json").read_text())
    assert stored == said
    assert Engine.model_validate(said).gpu.name
    for file in (path, tmp_path / "net.plan.json"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_the_inspectors_layers_are_written(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path), layers=str(tmp_path / "layers.json"))
    found = json.loads((tmp_path / "layers.json").read_text())
    assert found["Layers"]
    assert ("I/O Tensors" in found) == (int(trt.__version__.split(".")[0]) >= 11)


def test_a_second_build_reuses_the_timings(trt: Any, built: Build, tmp_path: Path) -> None:
    model, folder = linear(tmp_path), tmp_path / "timings"
    assert built(model, timing_cache=str(folder))["timing_cache"] == "new"
    assert built(model, timing_cache=str(folder))["timing_cache"] == "reused"
    (file,) = folder.glob("*.cache")
    assert trt.__version__ in file.name
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"not a cache")
    assert built(model, timing_cache=str(folder))["timing_cache"] == "refused"
    assert built(model, timing_cache=str(folder))["timing_cache"] == "reused"


def test_what_two_builds_learn_at_once_is_kept_of_both(
    trt10: Any, built: Build, tmp_path: Path
) -> None:
    folder = str(tmp_path / "timings")
    logger = native_logger(trt10)
    builder = trt10.Builder(logger)
    config = builder.create_builder_config()
    slow = TimingCache.of(trt10.__version__, folder)
    slow.attach(config)
    built(quantised(tmp_path), timing_cache=folder)  # begins and ends meanwhile
    network, _ = tensorrt_build._parsed(trt10, builder, logger, str(linear(tmp_path)), True)
    builder.build_serialized_network(network, config)
    slow.store(config)
    (file,) = (tmp_path / "timings").glob("*.cache")
    assert b"QuantizeLinear" in file.read_bytes()
    assert b"Gemm" in file.read_bytes()


def test_layers_are_timed_in_a_run_of_their_own(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    found = opened(tmp_path)
    expected, context = found.infer(IMAGES), found._context
    times, told = found.layer_times(IMAGES, 3)
    assert {layer["Name"] for layer in told["Layers"]} == set(times[0])
    assert len(times) == 3
    assert times[0]
    assert all(ms >= 0 for run in times for ms in run.values())
    assert np.array_equal(found.infer(IMAGES), expected)
    assert found._context is context  # the one that is timed as a whole has no profiler
    found.close()


def test_the_gpu_s_own_time_is_that_of_an_inference_without_copies(
    trt: Any, built: Build, tmp_path: Path
) -> None:
    built(linear(tmp_path))
    found = opened(tmp_path)
    found.bind(IMAGES)
    found.run()
    expected = found.bound_output().copy()
    found.bound_output()[...] = -1
    assert found.computed_ms() >= 0
    assert np.all(found.bound_output() == -1)  # nothing was copied out
    found.run()
    assert np.array_equal(found.bound_output(), expected)
    found.close()


def test_the_agent_writes_the_times_of_layers(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    np.save(tmp_path / "images.npy", IMAGES)
    layer_times.measure(
        {
            "engine": "tensorrt",
            "model": str(tmp_path / "net.plan"),
            "images": str(tmp_path / "images.npy"),
            "threads": 1,
            "runs": 4,
            "profile": str(tmp_path / "profile.json"),
            "layers": str(tmp_path / "layers.json"),
        }
    )
    found = layers.parse_profile((tmp_path / "profile.json").read_text())
    assert found.inferences == 4
    assert found.layers
    assert json.loads((tmp_path / "layers.json").read_text())["Layers"]


def test_times_of_layers_are_summed_up_as_trtexec_does() -> None:
    head, first, second = layer_times.profile([{"a": 1.0, "b": 1.0}, {"a": 5.0, "b": 1.0}])
    assert head == {"count": 2}
    assert first == {
        "name": "a", "timeMs": 6, "averageMs": 3, "medianMs": 3, "percentage": 75,
    }  # fmt: skip
    assert second["percentage"] == 25


@pytest.mark.parametrize(("batch", "fewest", "most"), [(2, 2, 2), ("N", 1, 1), ("N", 4, 8)])
def test_the_agent_infers_as_many_images_at_once_as_an_engine_takes(
    trt: Any, built: Build, tmp_path: Path, batch: int | str, fewest: int, most: int
) -> None:
    low, high = [fewest, 1, 2, 2], [most, 1, 2, 2]
    sizes = {"images": {"min": low, "opt": high, "max": high}} if batch == "N" else None
    built(linear(tmp_path, batch), profiles=sizes)
    pixels_nhwc = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    np.save(tmp_path / "images.npy", pixels_nhwc)
    infer.infer(
        {
            "engine": "tensorrt",
            "model": str(tmp_path / "net.plan"),
            "images": str(tmp_path / "images.npy"),
            "mean": [0.0],
            "std": [1 / 255],
            "batch": 64,
            "threads": 1,
            "logits": str(tmp_path / "logits.npy"),
        }
    )
    found = np.load(tmp_path / "logits.npy", allow_pickle=False)
    images = pixels_nhwc.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(found, images.reshape(3, 4) @ np.transpose(WEIGHTS), rtol=1e-5)


def test_the_agent_measures_an_engine(trt10: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    np.save(tmp_path / "images.npy", IMAGES)
    request = {
        "schema_version": 1,
        "engine": "tensorrt",
        "images": str(tmp_path / "images.npy"),
        "threads": 1,
        "blocks": 2,
        "runs": 3,
        "warm_up_s": [0.0, 0.0],
        "subjects": [{"name": "net", "path": str(tmp_path / "net.plan")}],
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    command = [sys.executable, "-m", "edgekd.agent", "run", str(tmp_path / "request.json")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    blocks = [line for line in lines if line["type"] == "block"]
    assert [len(block["samples_ns"]) for block in blocks] == [3, 3]
    (found,) = (line["engine"] for line in lines if line["type"] == "opened")
    assert found == "tensorrt 10.3.0, libcudart 12.6, copies included, as a CUDA graph"


def test_pycuda_serves_as_well_but_without_graphs(
    trt10: Any, built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = linear(tmp_path)
    monkeypatch.setenv("EDGEKD_CUDA", "pycuda")
    monkeypatch.delenv("EDGEKD_CUDART")
    built(model)
    found = opened(tmp_path)
    found.bind(IMAGES)
    found.bound_output()[...] = -1
    found.run()
    assert np.array_equal(found.bound_output(), reference(model, IMAGES))
    assert found.engine.endswith("without a CUDA graph")
    found.close()


# What goes wrong.


def test_sigterm_ends_a_build_and_nothing_is_written(
    trt10: Any, built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tensorrt_build, "emit", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        built(linear(tmp_path))
    assert signal.getsignal(signal.SIGTERM) == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_an_inference_that_tensorrt_refuses_is_an_error(
    trt10: Any, built: Build, tmp_path: Path
) -> None:
    built(linear(tmp_path))
    found = opened(tmp_path)
    found.infer(IMAGES)
    found._context.set_tensor_address("images", 0)
    with pytest.raises(AgentError, match=r"cannot be run: .*no address is set for images"):
        found.infer(IMAGES)
    found.close()


def test_of_the_parsers_errors_the_first_are_told(trt10: Any, built: Build, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ConvInteger", ["images", "images"], [name], name=name)
        for name in ("first", "second", "third", "fourth", "logits")
    ]
    path = nets.write(tmp_path / "net.onnx", nodes, (2, 1, 2, 2), (2, 4), kind=TensorProto.INT8)
    with pytest.raises(AgentError, match=r"first.*second.*third.*; and 2 more: `edgekd lint`"):
        built(path)


def test_what_the_parser_refuses_is_told(trt: Any, built: Build, tmp_path: Path) -> None:
    node = helper.make_node("ConvInteger", ["images", "images"], ["logits"], name="conv")
    path = nets.write(tmp_path / "net.onnx", [node], (2, 1, 2, 2), (2, 4), kind=TensorProto.INT8)
    with pytest.raises(AgentError, match=r"cannot read '.*net.onnx': node 0.*ConvInt") as raised:
        built(path)
    assert raised.value.kind == "model"
    assert not (tmp_path / "net.plan").exists()


def test_a_free_batch_without_a_profile_is_refused(trt: Any, built: Build, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"'images' has free dimensions, \[-1, 1, 2, 2\]"):
        built(linear(tmp_path, "N"))


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        ({"pixels": PROFILE["images"]}, "names 'pixels', but the inputs are: images"),
        (
            {"images": {"min": [4, 1, 2, 2], "opt": [2, 1, 2, 2], "max": [4, 1, 2, 2]}},
            "does not hold",
        ),
    ],
)
def test_a_profile_that_does_not_hold_is_refused(
    trt: Any, built: Build, tmp_path: Path, profile: dict[str, Any], reason: str
) -> None:
    with pytest.raises(AgentError, match=reason) as raised:
        built(linear(tmp_path, "N"), profiles=profile)
    assert raised.value.kind == "request"


def test_a_dla_that_is_not_there_is_refused(trt: Any, built: Build, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no DLA core 7: this GPU has"):
        built(linear(tmp_path), dla_core=7)


def test_a_changed_plan_is_not_loaded(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    path = tmp_path / "net.plan"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"not the plan that '.*json' tells of"):
        opened(tmp_path)


def test_a_plan_of_another_version_is_not_loaded(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    path = tmp_path / "net.plan"
    content = bytearray(path.read_bytes())
    content[25] += 1
    path.write_bytes(content)
    with pytest.raises(AgentError, match=r"was built by TensorRT .*, but here is"):
        opened(tmp_path)


def test_a_plan_without_a_record_is_not_loaded(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    (tmp_path / "net.plan.json").unlink()
    with pytest.raises(AgentError, match="record of the plan"):
        opened(tmp_path)


def test_a_plan_of_another_gpu_is_not_loaded(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    path = tmp_path / "net.plan.json"
    record = json.loads(path.read_text())
    record["gpu"]["compute_capability"] = "1.0"
    path.write_text(json.dumps(record))
    with pytest.raises(AgentError, match=r"\(1\.0\), but here is"):
        opened(tmp_path)


def test_a_failed_build_leaves_no_record_of_an_older_plan(
    trt: Any, built: Build, tmp_path: Path
) -> None:
    built(linear(tmp_path))
    with pytest.raises(AgentError):
        built(linear(tmp_path), dla_core=7)
    assert not (tmp_path / "net.plan.json").exists()


def test_images_of_another_size_are_refused(trt: Any, built: Build, tmp_path: Path) -> None:
    built(linear(tmp_path))
    found = opened(tmp_path)
    with pytest.raises(AgentError, match=r"takes images of shape \[2, 1, 2, 2\], but these have"):
        found.infer(np.zeros((3, 1, 2, 2), np.float32))
    found.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_engine_takes_on_the_gpu_is_told_beside_what_tensorrt_reckons(
    version: str, built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path
) -> None:
    monkeypatch.setenv("STANDIN_DISCRETE", "1")
    with standing_in(version, monkeypatch, library):
        built(linear(tmp_path))
        found = opened(tmp_path)
        found.bind(IMAGES)
        taken = found.memory()
        found.close()
    # The stand-in takes buffers alone, 8 pixels and 4 logits; it reckons 10 weights, and pixels.
    assert taken == {"device_mib": 12 * 4 / 2**20, "context_mib": 18 * 4 / 2**20}


def test_too_little_memory_for_a_context_is_said(
    trt10: Any, built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(linear(tmp_path))
    monkeypatch.setenv("EDGEKD_STANDIN_DEVICE_BYTES", "8")
    with pytest.raises(AgentError, match=r"there is no context for .*out of memory"):
        opened(tmp_path)


def test_a_dla_takes_its_layers_and_the_gpu_the_rest(
    trt10: Any, built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_STANDIN_DLA_CORES", "2")
    model = linear(tmp_path)  # Flatten and Gemm; a DLA knows the second
    with pytest.raises(AgentError, match=r"1 of 2 layers cannot run on the DLA.*gpu_fallback"):
        built(model, dla_core=1)
    said = built(model, dla_core=1, gpu_fallback=True)
    assert "1 of 2 layers cannot run on the DLA" in said["warnings"][0]
    assert np.array_equal(opened(tmp_path).infer(IMAGES), reference(model, IMAGES))


def test_progress_is_told(trt10: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = linear(tmp_path), str(tmp_path / "net.plan")
    build.build({"engine": "tensorrt", "model": str(model), "plan": path})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [(line["done"], line["total"]) for line in lines if line["type"] == "progress"]
    assert progress == [(1, 2), (2, 2)]


def test_half_and_whole_numbers_go_in_and_out(trt10: Any, built: Build, tmp_path: Path) -> None:
    node = helper.make_node("Flatten", ["images"], ["logits"])
    for kind in (TensorProto.FLOAT16, TensorProto.INT8):
        path = tmp_path / "net.onnx"
        built(nets.write(path, [node], (2, 1, 2, 2), (2, 4), kind=kind))
        found = opened(tmp_path)
        logits = found.infer(IMAGES)
        assert logits.dtype == np.float32
        assert logits.tolist() == IMAGES.reshape(2, 4).tolist()
    with pytest.raises(AgentError, match="int8, which cannot hold these images"):
        found.infer(IMAGES + 0.5)


def test_the_head_of_a_plan_is_read() -> None:
    content = b"ftrt" + struct.pack("<I", 0) + bytes(16) + bytes([10, 3, 0, 26])
    assert plan.head_of(content, "net.plan") == plan.Head(0, (10, 3, 0, 26))


@pytest.mark.parametrize("content", [b"", b"ftrt", b"ptrt" + bytes(24), b"ftrt" + bytes(23)])
def test_what_is_no_plan_is_refused(content: bytes) -> None:
    with pytest.raises(AgentError, match="no TensorRT plan"):
        plan.head_of(content, "net.plan")


def test_an_engine_that_builds_nothing_says_so(tmp_path: Path) -> None:
    request = {"engine": "onnxruntime", "model": "net.onnx", "plan": str(tmp_path / "net.plan")}
    with pytest.raises(AgentError, match="nothing to build"):
        build.build(request)
