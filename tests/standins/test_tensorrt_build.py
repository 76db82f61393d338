"""What the stand-in for TensorRT parses, builds and refuses; failures come by value."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.standins.networks import Build, Log, convolution, quantised, save
from tests.standins.standin import load_tensorrt

OLD, TYPED, NEW = "8.6.1", "10.3.0", "11.4.0"


def test_a_file_is_parsed_into_inputs_outputs_and_layers(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path))
    network = build.network
    assert build.parsed
    assert [network.get_layer(i).name for i in range(network.num_layers)] == ["conv", "relu"]
    assert network.get_input(0).shape == (2, 3, 8, 8)
    assert network.get_output(0).dtype == trt.float32
    assert network.get_input(0).is_network_input
    assert network.get_input(1) is None


def test_a_missing_file_is_a_parser_error(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, tmp_path / "none.onnx")
    assert not build.parsed
    assert build.parser.num_errors == 1
    error = build.parser.get_error(0)
    assert error.code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED
    assert "Failed to open file" in error.desc()
    assert error.node() == -1
    build.parser.clear_errors()
    assert build.parser.num_errors == 0


def test_a_damaged_file_is_a_parser_error(trt: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(convolution(tmp_path).read_bytes()[:100])
    build = Build(trt, path)
    assert not build.parsed
    assert build.parser.get_error(0).code() == trt.ErrorCode.MODEL_DESERIALIZE_FAILED


def test_an_operator_without_importer_is_named(
    trt: ModuleType, version: str, tmp_path: Path
) -> None:
    node = helper.make_node("Det", ["x"], ["y"], "the_node")
    build = Build(trt, save(tmp_path / "det.onnx", [node], {}, x=[2, 3, 3], y=[2]))
    assert not build.parsed
    error = build.parser.get_error(0)
    assert error.code() == trt.ErrorCode.UNSUPPORTED_NODE
    assert "Det" in error.desc()
    assert error.node() == 0
    if version != OLD:
        assert (error.node_name(), error.node_operator()) == ("the_node", "Det")
    assert not build.parser.supports_operator("Det")
    assert build.parser.supports_operator("Conv")


@pytest.mark.parametrize(("zero_point", "kind"), [(0, "uint8"), (3, "int8")])
def test_zero_points_are_int8_zeros(
    trt: ModuleType, tmp_path: Path, zero_point: int, kind: str
) -> None:
    assert not Build(trt, quantised(tmp_path, zero_point, kind)).parsed
    assert Build(trt, quantised(tmp_path)).parsed


def test_weights_in_their_own_file_are_found_only_from_a_file(
    trt: ModuleType, tmp_path: Path
) -> None:
    import onnx

    path = tmp_path / "apart.onnx"
    model = onnx.load(convolution(tmp_path))
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert Build(trt, path).parsed
    fresh = Build(trt, tmp_path / "none.onnx")
    assert not fresh.parser.parse(path.read_bytes())


def test_8_wants_explicit_batch(tmp_path: Path) -> None:
    trt = load_tensorrt(OLD)
    log = Log(trt)
    parser = trt.OnnxParser(trt.Builder(log.logger).create_network(0), log.logger)
    assert not parser.parse_from_file(str(convolution(tmp_path)))
    assert "EXPLICIT_BATCH" in log.errors


def test_an_empty_network_is_not_built(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, tmp_path / "none.onnx")
    assert build.plan() is None
    assert "at least one output" in build.log.errors


def test_a_plan_begins_with_the_header_of_tensorrt(
    trt: ModuleType, version: str, tmp_path: Path
) -> None:
    plan = bytes(Build(trt, convolution(tmp_path)).plan())
    assert plan[:8] == b"ftrt\0\0\0\0"
    assert ".".join(map(str, plan[24:27])) == version


def test_a_plan_is_a_buffer_without_a_length(trt: ModuleType, tmp_path: Path) -> None:
    plan = Build(trt, convolution(tmp_path)).plan()
    with (tmp_path / "plan").open("wb") as file:
        assert file.write(plan) == plan.nbytes
    assert isinstance(plan, trt.IHostMemory)
    assert (tmp_path / "plan").read_bytes() == bytes(plan)
    with pytest.raises(TypeError, match="has no len"):
        len(plan)


def test_a_plan_is_of_its_version_and_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = load_tensorrt(TYPED)
    plan = Build(trt, convolution(tmp_path)).plan()
    other = load_tensorrt(NEW)
    log, other_log = Log(trt), Log(other)
    assert other.Runtime(other_log.logger).deserialize_cuda_engine(plan) is None
    assert "version 10.3.0" in other_log.errors
    monkeypatch.setenv("EDGEKD_STANDIN_GPU", "another")
    assert trt.Runtime(log.logger).deserialize_cuda_engine(plan) is None
    assert "'another'" in log.errors


def test_a_damaged_plan_is_no_engine(trt: ModuleType, tmp_path: Path) -> None:
    plan = bytearray(Build(trt, convolution(tmp_path)).plan())
    plan[-1] ^= 1
    log = Log(trt)
    assert trt.Runtime(log.logger).deserialize_cuda_engine(plan) is None
    assert "damaged" in log.errors


def test_8_wants_the_int8_flag_for_q_and_dq(tmp_path: Path) -> None:
    build = Build(load_tensorrt(OLD), quantised(tmp_path))
    assert build.plan() is None
    assert "INT8 flag is not set" in build.log.errors
    assert build.flag("INT8").plan() is not None


@pytest.mark.parametrize("flag", ["FP16", "INT8"])
def test_a_strongly_typed_network_takes_no_precision_flag(tmp_path: Path, flag: str) -> None:
    build = Build(load_tensorrt(TYPED), quantised(tmp_path), strong=True)
    assert build.network.get_flag(build.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert build.flag(flag).plan() is None
    assert "not compatible with a strongly typed network" in build.log.errors


@pytest.mark.parametrize("version", [TYPED, NEW])
def test_a_strongly_typed_network_has_its_precision_from_the_graph(
    tmp_path: Path, version: str
) -> None:
    build = Build(load_tensorrt(version), quantised(tmp_path), strong=version == TYPED)
    assert build.plan() is not None


def test_flags_are_set_and_cleared(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path)).flag("GPU_FALLBACK")
    flag = trt.BuilderFlag.GPU_FALLBACK
    assert build.config.get_flag(flag)
    assert build.config.flags >> int(flag) & 1
    build.config.clear_flag(flag)
    assert not build.config.get_flag(flag)
    assert build.config.get_flag(trt.BuilderFlag.TF32)


def test_types_that_do_not_fit_are_refused(trt: ModuleType, tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "half"], ["y"], "add")]
    path = save(tmp_path / "mixed.onnx", nodes, {"half": np.float16(1)}, x=[2], y=[2])
    build = Build(trt, path)
    assert build.plan() is None


def test_a_dynamic_input_needs_a_profile(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path, "n"))
    assert build.plan() is None
    assert "no optimization profile has been defined" in build.log.errors
    assert build.profile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)) == 0
    assert build.plan() is not None


def test_a_profile_has_to_fit_the_network(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path, "n"))
    assert build.profile((1, 3, 9, 9), (1, 3, 9, 9), (1, 3, 9, 9)) == 0
    assert build.plan() is None
    assert "do not fit" in build.log.errors


def test_an_inconsistent_profile_raises(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path, "n"))
    with pytest.raises(RuntimeError, match="Shape provided for max is inconsistent"):
        build.profile((1, 3, 8, 8), (4, 3, 8, 8), (2, 3, 8, 8))


def test_an_invalid_profile_has_the_index_minus_one(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path, "n"))
    assert build.profile((-1, 3, 8, 8), (-1, 3, 8, 8), (-1, 3, 8, 8)) == -1


def test_a_timing_cache_is_kept_and_is_of_its_gpu(
    trt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(trt, convolution(tmp_path))
    assert build.config.get_timing_cache() is None
    cache = build.config.create_timing_cache(b"")
    empty = bytes(cache.serialize())
    assert build.config.set_timing_cache(cache, ignore_mismatch=False)
    build.plan()
    filled = bytes(build.config.get_timing_cache().serialize())
    assert filled != empty
    monkeypatch.setenv("EDGEKD_STANDIN_GPU", "another")
    foreign = build.config.create_timing_cache(filled)
    assert not build.config.set_timing_cache(foreign, ignore_mismatch=False)
    damaged = build.config.create_timing_cache(b"rubbish")
    assert not build.config.set_timing_cache(damaged, ignore_mismatch=False)


def test_dla_is_refused_where_there_is_none(trt: ModuleType, tmp_path: Path) -> None:
    build = Build(trt, convolution(tmp_path))
    build.config.default_device_type = trt.DeviceType.DLA
    assert build.builder.num_DLA_cores == 0
    assert build.plan() is None
    assert "this platform has none" in build.log.errors


def test_dla_takes_static_shapes_and_falls_back_only_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKD_STANDIN_DLA_CORES", "2")
    nodes = [helper.make_node("Softmax", ["x"], ["y"], "softmax")]
    path = save(tmp_path / "softmax.onnx", nodes, {}, x=[2, 3], y=[2, 3])
    build = Build(load_tensorrt(TYPED), path).flag("FP16")
    build.config.default_device_type = build.trt.DeviceType.DLA
    assert not build.config.can_run_on_DLA(build.network.get_layer(0))
    assert build.plan() is None
    assert "GPU fallback is off: softmax" in build.log.errors
    assert build.flag("GPU_FALLBACK").plan() is not None


def monitor(trt: ModuleType, *, cancel: bool) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.told: list[Any] = []

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.told.append(("start", steps))

        def phase_finish(self, phase: str) -> None:
            self.told.append("finish")

        def step_complete(self, phase: str, step: int) -> bool:
            self.told.append(step)
            return not cancel

    return Monitor()


@pytest.mark.parametrize("version", [TYPED, NEW])
def test_a_progress_monitor_is_told_and_may_cancel(tmp_path: Path, version: str) -> None:
    trt = load_tensorrt(version)
    build = Build(trt, convolution(tmp_path))
    build.config.progress_monitor = patient = monitor(trt, cancel=False)
    assert build.plan() is not None
    assert patient.told == [("start", 2), 0, 1, "finish"]
    build.config.progress_monitor = hasty = monitor(trt, cancel=True)
    assert build.plan() is None
    assert hasty.told == [("start", 2), 0, "finish"]


def test_errors_reach_the_recorder(trt: ModuleType, tmp_path: Path) -> None:
    class Recorder(trt.IErrorRecorder):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.IErrorRecorder.__init__(self)
            self.found: list[Any] = []

        def report_error(self, code: Any, desc: str) -> bool:
            self.found.append((code, desc))
            return True

    build = Build(trt, convolution(tmp_path, "n"))
    build.builder.error_recorder = recorder = Recorder()
    assert build.plan() is None
    assert [code for code, _ in recorder.found] == [trt.ErrorCodeTRT.INTERNAL_ERROR]
