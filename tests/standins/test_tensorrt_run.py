"""Engines of the stand-in for TensorRT: order of calls, shapes, and ONNX Runtime's outputs."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.standins.networks import Build, convolution, quantised

STATIC = (2, 3, 8, 8)


def expected(path: Path, images_nchw: Any) -> Any:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images_nchw})[0]


def images(batch: int = 2) -> Any:
    return np.random.default_rng(1).normal(size=(batch, 3, 8, 8)).astype("float32")


def dynamic(trt: ModuleType, folder: Path) -> Build:
    build = Build(trt, convolution(folder, "n"))
    build.profile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    return build


def context_on(engine: Any, source: Any, target: Any) -> Any:
    context = engine.create_execution_context()
    assert context.set_tensor_address("x", source.ctypes.data)
    assert context.set_tensor_address(name="y", memory=target.ctypes.data)
    return context


def test_an_engine_computes_what_onnx_runtime_computes(trt: ModuleType, tmp_path: Path) -> None:
    source, target = images(), np.zeros((2, 4, 8, 8), "float32")
    context = context_on(Build(trt, convolution(tmp_path)).engine(), source, target)
    assert context.execute_async_v3(stream_handle=0)
    np.testing.assert_array_equal(target, expected(tmp_path / "conv.onnx", source))


def test_execute_v2_takes_addresses_in_the_order_of_the_tensors(
    trt: ModuleType, tmp_path: Path
) -> None:
    source, target = images(), np.zeros((2, 4, 8, 8), "float32")
    context = Build(trt, convolution(tmp_path)).engine().create_execution_context()
    assert context.execute_v2([source.ctypes.data, target.ctypes.data])
    np.testing.assert_array_equal(target, expected(tmp_path / "conv.onnx", source))
    assert not context.execute_v2([source.ctypes.data])


def test_an_engine_tells_of_its_tensors(trt: ModuleType, tmp_path: Path) -> None:
    engine = dynamic(trt, tmp_path).engine()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    assert names == ["x", "y"]
    assert engine.get_tensor_mode("x") == trt.TensorIOMode.INPUT
    assert engine.get_tensor_mode("y") == trt.TensorIOMode.OUTPUT
    assert engine.get_tensor_mode("z") == trt.TensorIOMode.NONE
    assert engine.get_tensor_shape("y") == (-1, 4, 8, 8)
    assert engine.get_tensor_dtype("x") == trt.float32
    assert engine.get_tensor_profile_shape("x", 0) == [(1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)]
    assert engine.num_layers == 2


def test_an_engine_keeps_its_runtime_alive(trt: ModuleType, tmp_path: Path) -> None:
    engine = Build(trt, convolution(tmp_path)).engine()  # the runtime has no other reference
    assert engine.create_execution_context() is not None


def test_execution_waits_for_addresses(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path))
    context = build.engine().create_execution_context()
    assert not context.execute_async_v3(0)
    assert "no address is set for x, y" in build.log.errors
    assert not context.set_tensor_address("z", 1)


def test_execution_waits_for_shapes(trt: ModuleType, tmp_path: Path) -> None:
    build = dynamic(trt, tmp_path)
    source, target = images(3), np.zeros((3, 4, 8, 8), "float32")
    context = context_on(build.engine(), source, target)
    assert context.infer_shapes() == ["x"]
    assert not context.execute_async_v3(0)
    assert "the shape of x is not specified" in build.log.errors
    assert context.set_input_shape("x", (3, 3, 8, 8))
    assert context.infer_shapes() == []
    assert context.get_tensor_shape("y") == (3, 4, 8, 8)
    assert context.execute_async_v3(0)
    np.testing.assert_array_equal(target, expected(tmp_path / "conv.onnx", source))


@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (2, 3, 9, 8), (3, 8, 8)])
def test_shapes_outside_the_profile_are_refused(
    trt: ModuleType, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    context = dynamic(trt, tmp_path).engine().create_execution_context()
    assert not context.set_input_shape("x", shape)
    assert not context.set_input_shape("y", (2, 4, 8, 8))


def test_a_profile_is_chosen_by_number(trt: ModuleType, tmp_path: Path) -> None:
    build = dynamic(trt, tmp_path)
    assert build.profile((5, 3, 8, 8), (6, 3, 8, 8), (7, 3, 8, 8)) == 1
    context = build.engine().create_execution_context()
    assert not context.set_input_shape("x", (6, 3, 8, 8))
    assert context.set_optimization_profile_async(1, 0)
    assert context.active_optimization_profile == 1
    assert context.set_input_shape("x", (6, 3, 8, 8))
    assert not context.set_optimization_profile_async(2, 0)


def test_no_context_where_memory_is_short(
    trt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(trt, convolution(tmp_path))
    engine = build.engine()
    monkeypatch.setenv("EDGEKD_STANDIN_DEVICE_BYTES", "1000")
    assert engine.create_execution_context() is None
    assert "out of memory" in build.log.errors


def profiler(trt: ModuleType) -> Any:
    class Profiler(trt.IProfiler):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.layers: list[str] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            assert ms > 0
            self.layers.append(layer_name)

    return Profiler()


def test_a_profiler_is_told_at_once_or_on_demand(trt: ModuleType, tmp_path: Path) -> None:
    source, target = images(), np.zeros((2, 4, 8, 8), "float32")
    context = context_on(Build(trt, convolution(tmp_path)).engine(), source, target)
    assert not context.report_to_profiler()
    context.profiler = found = profiler(trt)
    context.execute_async_v3(0)
    assert found.layers == ["conv", "relu"]
    context.enqueue_emits_profile = False
    context.execute_async_v3(0)
    assert found.layers == ["conv", "relu"]
    assert context.report_to_profiler()
    assert found.layers == ["conv", "relu"] * 2


def test_the_inspector_speaks_the_schema_of_its_version(
    trt: ModuleType, version: str, tmp_path: Path
) -> None:
    build = Build(trt, quantised(tmp_path))
    if version != "11.4.0":
        build.flag("INT8")
    build.config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    inspector = build.engine().create_engine_inspector()
    told = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    (layer,) = told["Layers"]
    assert layer["Name"] == "relu"
    assert layer["Metadata"] == "[ONNX Layer: relu]"
    if version == "11.4.0":
        assert layer["Inputs"][0]["Datatype"] == "Int8"
        assert [one["Name"] for one in told["I/O Tensors"]] == ["x", "y"]
    else:
        assert layer["Inputs"][0]["Format/Datatype"].endswith("Int8")
        assert told["Bindings"] == ["x", "y"]


def test_the_inspector_has_only_names_unless_more_was_asked_for(
    trt: ModuleType, tmp_path: Path
) -> None:
    inspector = Build(trt, convolution(tmp_path)).engine().create_engine_inspector()
    told = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    assert told["Layers"] == ["conv", "relu"]
