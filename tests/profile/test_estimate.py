"""Estimates, held against sums done by hand. The board is round: 1 TFLOP/s in FP16, 100 GB/s."""

from math import log, sqrt
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgekd.core.errors import UsageError
from edgekd.core.estimate import Range
from edgekd.profile import estimate, kernels, peaks, roofline
from edgekd.profile.estimate import Known, Wishes
from edgekd.remote import devices
from tests import nets

BOARD = devices.Board(
    chip="round", parts=("p0",), compute_capability="8.7", cores=128, sms=1, gpu_mhz=1000,
    fp16_tflops=1.0, int8_tops=2.0, memory_gib=1, bandwidth_gb_s=100.0, jetpacks=("6.2",),
    modes=(devices.Mode(name="slow", gpu_mhz=500), devices.Mode(name="secret")),
)  # fmt: skip
MOST = peaks.of(BOARD, None, "round")
DEVICE = devices.Device(description="a round board", reach="ssh", engine="tensorrt", board=BOARD)


def residual(path: Path, kind: int = TensorProto.FLOAT, groups: int = 1) -> Path:
    """Write conv 3x3 (16 to 16 channels, 8 x 8), + its input, ReLU, average pooling."""
    weights = np.zeros((16, 16 // groups, 3, 3), helper.tensor_dtype_to_np_dtype(kind))
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], "conv", pads=[1, 1, 1, 1], group=groups),
        helper.make_node("Add", ["c", "images"], ["a"], "add"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["logits"], "pool"),
    ]
    constants = [onnx.numpy_helper.from_array(weights, "w")]
    return nets.write(path, nodes, ("N", 16, 8, 8), ("N", 16, 1, 1), constants, kind)


def chain(path: Path, *, quantised: bool) -> Path:
    """Write two convolutions in FP32, or with Q/DQ on every input and weight."""
    nodes = []
    source = "images"
    constants = [onnx.numpy_helper.from_array(np.array(0.1, np.float32), "s")]
    constants.append(onnx.numpy_helper.from_array(np.array(0, np.int8), "z"))
    for layer in ("one", "two"):
        weight = f"w_{layer}"
        constants.append(onnx.numpy_helper.from_array(np.zeros((16, 16, 3, 3), np.float32), weight))
        reads = [source, weight]
        if quantised:
            for index, name in enumerate(reads):
                nodes.append(
                    helper.make_node(
                        "QuantizeLinear", [name, "s", "z"], [f"q{layer}{index}"], f"q{layer}{index}"
                    )
                )
                nodes.append(
                    helper.make_node(
                        "DequantizeLinear", [f"q{layer}{index}", "s", "z"], [f"d{layer}{index}"]
                    )
                )
            reads = [f"d{layer}0", f"d{layer}1"]
        target = "logits" if layer == "two" else layer
        nodes.append(helper.make_node("Conv", reads, [target], layer, pads=[1, 1, 1, 1]))
        source = target
    return nets.write(path, nodes, ("N", 16, 8, 8), ("N", 16, 8, 8), constants)


def test_a_residual_block_is_one_kernel_and_its_sums_are_right(tmp_path: Path) -> None:
    block, pool = kernels.read(residual(tmp_path / "net.onnx"), batch=2)
    assert block.name == "conv + add + relu"
    assert block.macs == 2 * (16 * 8 * 8) * (16 * 3 * 3)
    image, weights = 2 * 16 * 8 * 8, 16 * 16 * 3 * 3
    # Read for the convolution and again for the addition, written once; four bytes each.
    assert block.bytes == 4 * (3 * image + weights)
    assert (pool.name, pool.macs, pool.bytes) == ("pool", 0, 4 * (image + 2 * 16))


def test_half_the_bytes_in_fp16(tmp_path: Path) -> None:
    path = residual(tmp_path / "net.onnx")
    plain, half = kernels.read(path, 1), kernels.read(path, 1, "fp16")
    assert [k.bytes for k in half] == [k.bytes // 2 for k in plain]
    stored = kernels.read(residual(tmp_path / "half.onnx", TensorProto.FLOAT16), 1)
    assert [(k.bytes, k.precision) for k in stored] == [(k.bytes, "fp16") for k in half]


def test_an_activation_that_others_read_too_is_written(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Concat", ["c", "r"], ["logits"], "cat", axis=1),
    ]
    constants = [onnx.numpy_helper.from_array(np.zeros((4, 4, 1, 1), np.float32), "w")]
    path = nets.write(tmp_path / "n.onnx", nodes, (1, 4, 2, 2), (1, 8, 2, 2), constants)
    assert [k.name for k in kernels.read(path, 1)] == ["conv", "relu", "cat"]


def test_quantised_layers_are_int8_and_hand_int8_on(tmp_path: Path) -> None:
    first, one, two = kernels.read(chain(tmp_path / "net.onnx", quantised=True), 1)
    size, weights = 16 * 8 * 8, 16 * 16 * 3 * 3
    assert (first.operator, first.bytes) == ("QuantizeLinear", 5 * size)  # the images: 4 + 1 bytes
    assert (one.precision, one.bytes) == ("int8", size + weights + size)
    assert (two.precision, two.bytes) == ("int8", size + weights + 4 * size)


def test_gemm_and_a_fixed_batch(tmp_path: Path) -> None:
    path = nets.linear(tmp_path / "net.onnx", np.zeros((10, 12)), (3, 2, 2), batch=4)
    (gemm,) = kernels.read(path, 4)
    assert gemm.macs == 4 * 10 * 12
    with pytest.raises(UsageError, match=r"a batch of 4, not 1: .*--batch 4"):
        kernels.read(path, 1)


def test_no_onnx_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"net\.onnx' is not an ONNX file"):
        kernels.read(tmp_path / "net.onnx", 1)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        kernels.read(tmp_path / "none.onnx", 1)


def test_a_shape_that_is_not_known_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["images"], ["logits"], "relu")]
    path = nets.write(tmp_path / "n.onnx", nodes, ("N", 1, "H", "W"), ("N", 1, "H", "W"))
    with pytest.raises(UsageError, match="shape of 'images' at node 'relu'"):
        kernels.read(path, 1)


def test_compute_memory_and_launch_by_hand() -> None:
    machine = roofline.Machine.of(BOARD, MOST)
    half = roofline.Reached(compute=0.5, memory=0.5, launch_us=10)
    kernel = kernels.Kernel(["k"], "Conv", "fp16", macs=10**9, bytes=10**8)
    # 2e9 operations at half of 1e12/s; 1e8 bytes at half of 1e11/s
    assert roofline.times_ms(kernel, machine, half) == pytest.approx(
        {"compute": 4.0, "memory": 2.0, "launch": 0.01}
    )
    int8 = kernels.Kernel(["k"], "Conv", "int8", macs=10**9)
    assert roofline.times_ms(int8, machine, half)["compute"] == pytest.approx(2.0)


def test_groups_do_not_run_on_tensor_cores(tmp_path: Path) -> None:
    (kernel, _) = kernels.read(residual(tmp_path / "net.onnx", groups=16), 1, "fp16")
    machine = roofline.Machine.of(BOARD, MOST)
    # 128 cores x 2 operations x 1 GHz, two FP16 values at once: 0.512 of 1 TFLOP/s
    assert machine.plain["fp16"] == pytest.approx(0.512e12)
    assert kernel.grouped
    assert kernel.macs == 16 * 8 * 8 * 9


def test_int8_is_never_slower_than_fp16_but_for_the_reformat_of_the_images(tmp_path: Path) -> None:
    path, quantised = chain(tmp_path / "f.onnx", quantised=False), tmp_path / "q.onnx"
    half = estimate.estimate(path, "round", DEVICE, Wishes(precision="fp16"))
    wished = estimate.estimate(path, "round", DEVICE, Wishes(precision="int8"))
    assert wished.p50_ms.low <= half.p50_ms.low
    assert wished.p50_ms.high <= half.p50_ms.high
    (first, one, _) = estimate.estimate(chain(quantised, quantised=True), "round", DEVICE).layers
    assert first.operator == "QuantizeLinear"
    assert one.ms.high <= half.layers[0].ms.high


def test_the_total_is_the_sum_of_the_layers_and_says_that_it_is_an_estimate(
    tmp_path: Path,
) -> None:
    found = estimate.estimate(residual(tmp_path / "net.onnx"), "round", DEVICE)
    assert found.kind == "estimate"
    low, high = (sum(getattr(layer.ms, end) for layer in found.layers) for end in ("low", "high"))
    assert found.p50_ms.low == pytest.approx(low + roofline.BEST.inference_ms)
    assert found.p50_ms.high == pytest.approx(high + roofline.WORST.inference_ms)
    assert found.p50_ms.low < found.p50_ms.high
    assert found.notes[0] == estimate.NOT_MEASURED


def test_a_slower_power_mode_is_slower(tmp_path: Path) -> None:
    path = residual(tmp_path / "net.onnx")
    slow = estimate.estimate(path, "round", DEVICE, Wishes(batch=64, power_mode="slow"))
    fast = estimate.estimate(path, "round", DEVICE, Wishes(batch=64))
    assert (slow.gpu_mhz, fast.gpu_mhz) == (500, 1000)
    assert (slow.sms, slow.bandwidth_gb_s) == (1, 100)
    assert slow.p50_ms.low > fast.p50_ms.low
    for mode, words in (
        ("turbo", "no power mode 'turbo'"),
        ("secret", "nothing is known of mode 'secret' of 'round' but its name; more is of slow"),
    ):
        with pytest.raises(UsageError, match=words):
            estimate.estimate(path, "round", DEVICE, Wishes(power_mode=mode))


@pytest.mark.parametrize("kind", ["nano", "tx2"])
def test_boards_without_int8_refuse_it_with_the_reason(tmp_path: Path, kind: str) -> None:
    path = residual(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=f"'{kind}' has no INT8"):
        estimate.estimate(path, kind, devices.find(kind), Wishes(precision="int8"))
    assert estimate.estimate(path, kind, devices.find(kind), Wishes(precision="fp16")).layers


def test_what_is_no_board_cannot_be_estimated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no .board. table"):
        estimate.estimate(tmp_path / "n.onnx", "host-cpu", devices.find("host-cpu"))


def test_calibration_by_hand() -> None:
    # Middles of 2 ms, measured at 4, 4 and 8 ms: factors of 2, 2 and 4.
    known = [Known(ms, Range(low=1, high=4)) for ms in (4.0, 4.0, 8.0)]
    found = estimate.calibrate(known)
    assert found.factor == pytest.approx(2 * 2 ** (1 / 3))
    # The third, from the first two: 2 where 4 is right, so wrong by a factor of 2.
    assert found.error_ratio == pytest.approx(1.0)
    # Logarithms of 1, 1 and 2 over log 2: a standard deviation of 0.4002, a t of 2.92 for 2
    # degrees of freedom, and sqrt(4 / 3) for one more model.
    assert log(found.width or 0) == pytest.approx(2.91999 * 0.40019 * 1.15470, rel=1e-4)
    near = estimate.moved(Range(low=0.5, high=50), found)
    assert sqrt(near.low * near.high) == pytest.approx(5 * found.factor)
    assert sqrt(near.high / near.low) == pytest.approx(found.width)


def test_one_measurement_moves_a_range_and_leaves_its_width() -> None:
    found = estimate.calibrate([Known(4.0, Range(low=1, high=4))])
    assert found.error_ratio is None
    near = estimate.moved(Range(low=1, high=9), found)
    assert (near.low, near.high) == pytest.approx((2, 18))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.floats(1.01, 50))
def test_calibration_never_widens_a_range(measured: list[float], width: float) -> None:
    known = [Known(ms, Range(low=1, high=2)) for ms in measured]
    near = estimate.moved(Range(low=1, high=width), estimate.calibrate(known))
    assert log(near.high / near.low) <= log(width) + 1e-9


def test_a_slice_whose_end_the_graph_computes_has_a_shape(tmp_path: Path) -> None:
    # The first half of the channels, as torch exports chunk(): shape -> gather -> divide -> slice.
    constants = [
        onnx.numpy_helper.from_array(np.array([value], np.int64), name)
        for name, value in (("zero", 0), ("one", 1), ("two", 2))
    ]
    nodes = [
        helper.make_node("Relu", ["images"], ["r"], "relu"),
        helper.make_node("Shape", ["r"], ["shape"]),
        helper.make_node("Constant", [], ["two"], value=constants.pop()),
        helper.make_node("Gather", ["shape", "one"], ["channels"]),
        helper.make_node("Div", ["channels", "two"], ["half"]),
        helper.make_node("Slice", ["r", "zero", "half", "one"], ["logits"], "slice"),
    ]
    path = nets.write(tmp_path / "n.onnx", nodes, ("N", 6, 2, 2), ("N", 3, 2, 2), constants)
    relu, half = kernels.read(path, batch=5)
    assert (relu.name, half.name) == ("relu", "slice")
    assert half.bytes == 4 * 5 * (6 + 3) * 2 * 2
    assert half.elidable
