"""What only a real Jetson can show; ``EDGEKD_JETSON`` names its entry of the inventory.

Each test goes the whole way: this machine, ssh, the agent, TensorRT. See docs/boards.md.
"""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from edgekd.core import specs
from edgekd.core.progress import Silent
from edgekd.core.records import Normalisation
from edgekd.core.series import known
from edgekd.data import sources
from edgekd.evaluate import accuracy
from edgekd.pipeline import engines, profile
from edgekd.pipeline.profile import Profiled
from edgekd.remote import checkup, inventory
from tests import nets

pytestmark = pytest.mark.jetson
CHANNELS = 64
TF32 = 2e-2  # of logits around 10, whose products TensorRT may round to 10 bits


@pytest.fixture(scope="module")
def board() -> str:
    name = os.environ.get("EDGEKD_JETSON")
    if name is None:
        pytest.skip("no Jetson: EDGEKD_JETSON names no entry of the inventory")
    return name


def convolutions(path: Path, count: int) -> Path:
    """Write a chain of convolutions on 56 x 56 images, 116 M multiply-accumulates each."""
    draw = np.random.default_rng(0)
    scale = np.sqrt(2 / (9 * CHANNELS))
    weights: list[NDArray[np.float32]] = [
        (scale * draw.standard_normal((CHANNELS, CHANNELS, 3, 3))).astype(np.float32)
        for _ in range(count)
    ]
    constants = [onnx.numpy_helper.from_array(each, f"w{i}") for i, each in enumerate(weights)]
    nodes, last = [], "images"
    for i in range(count):
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], f"conv{i}/Conv",
                                      pads=[1, 1, 1, 1]))  # fmt: skip
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}/Relu"))
        last = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"], "pool/Pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits"], "flat/Flatten"))
    return nets.write(path, nodes, (1, CHANNELS, 56, 56), (1, CHANNELS), constants)


@pytest.fixture(scope="module")
def measured(board: str, tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """Eight convolutions against sixteen, with energy and layers."""
    folder = tmp_path_factory.mktemp("board")
    teacher, student = (convolutions(folder / f"{n}.onnx", n) for n in (16, 8))
    spec = specs.Profile(device=board, energy=True)
    return profile.profile(student, teacher, spec, folder / "out", progress=Silent(), layers=True)


def test_the_doctor_knows_the_board(board: str) -> None:
    found = {finding.name: finding.state for finding in checkup.visit(board)}
    for name in ("kind", "Python", "numpy", "tensorrt", "JetPack", "power mode"):
        assert found[name] == "ok", name
    assert found["GPU clock"] in {"ok", "warning"}
    assert found["temperature"] in {"ok", "warning"}


def test_an_engine_computes_what_its_onnx_file_does(board: str, tmp_path: Path) -> None:
    weights_kf = np.random.default_rng(0).standard_normal((10, 64))
    model = nets.linear(tmp_path / "net.onnx", weights_kf, (1, 8, 8), 1)
    images = sources.load_images("digits", "test", None)
    plain = Normalisation(mean=(0.5,), std=(0.5,))
    (plan,) = engines.built(model, inventory.usable(board), 1, 1, Silent())
    there_nk = accuracy.logits_of(plan, images, plain, device=board)
    here_nk = accuracy.logits_of(model, images, plain)
    np.testing.assert_allclose(there_nk, here_nk, atol=TF32 * np.abs(here_nk).max())


def test_half_the_convolutions_take_half_the_time(measured: Profiled) -> None:
    teacher, student = measured.measurement.timings
    assert student.ratio_to_first is not None
    assert 0.35 < student.ratio_to_first.value < 0.75
    for timing in (teacher, student):
        assert timing.gpu_p50_ms is not None
        assert timing.gpu_p50_ms.low <= timing.p50_ms.high  # the GPU's part of the whole


def test_an_engine_holds_memory_on_the_gpu(measured: Profiled) -> None:
    for timing in measured.measurement.timings:
        assert timing.device_memory_mib is not None
        assert 0 < timing.device_memory_mib <= timing.peak_memory_mib


def test_the_state_of_the_board_is_told(measured: Profiled) -> None:
    record = measured.measurement
    assert record.engine.startswith("tensorrt")
    assert record.power_mode is not None
    assert record.clocks_locked is not None
    assert record.temperatures_c is not None
    assert 0 < min(record.temperatures_c) <= max(record.temperatures_c) < 100


def test_temperature_and_clock_are_told_over_time(measured: Profiled) -> None:
    series = measured.measurement.series
    assert series is not None
    assert series.hottest is not None
    hottest_c = known(series.temperatures_c[series.hottest])
    assert 0 < min(hottest_c) <= max(hottest_c) < 100
    assert min(known(series.gpu_mhz)) > 0
    seconds = series.times_s[-1]
    assert len(series.times_s) > min(seconds, 100)  # about two a second, if they are not thinned


def test_an_inference_takes_energy_that_a_module_can_draw(measured: Profiled) -> None:
    energy = measured.measurement.energy
    assert energy is not None
    assert energy.missing is None
    for timing in measured.measurement.timings:
        assert timing.energy is not None
        assert 500 < timing.energy.power_mw < 200_000
        assert timing.energy.per_image_mj.low > 0


def test_the_layers_together_take_about_as_long_as_the_gpu(measured: Profiled) -> None:
    student = measured.measurement.timings[-1]
    assert student.gpu_p50_ms is not None
    whole_ms = sum(row.ms for row in measured.layers)
    assert 0.5 < whole_ms / student.gpu_p50_ms.value < 3  # timing each slows them down
