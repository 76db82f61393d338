"""What boards can do in a power mode, held against sums done by hand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import catalogue
from edgekd.core.errors import UsageError
from edgekd.profile import estimate, kernels, peaks, roofline
from edgekd.profile.estimate import Wishes
from edgekd.remote import devices
from edgekd.remote.devices import Board, Mode
from tests.profile.test_estimate import residual

ROUND = Board(
    chip="round", parts=("p0",), compute_capability="8.7", cores=1024, sms=8, gpu_mhz=1000,
    fp16_tflops=10.0, int8_tops=20.0, dla_cores=2, dla_int8_tops=40.0, dla_mhz=1000, memory_gib=1,
    bandwidth_gb_s=100.0, emc_mhz=2000, jetpacks=("6.2",),
)  # fmt: skip
BOARDS = {
    name: board
    for name in catalogue.names("profiles")
    if (board := devices.find(name).board) is not None
}


def of(**caps: object) -> peaks.Peaks:
    """Return the peaks of the round board in a mode with these caps."""
    board = ROUND.model_copy(update={"modes": (Mode(name="mine", **caps),)})  # type: ignore[arg-type]
    return peaks.of(board, "mine", "round")


@pytest.mark.parametrize(
    ("caps", "found"),
    [
        # (INT8, FP16, bandwidth, DLA) of 20, 10, 100 and 40
        ({"gpu_mhz": 250}, (5.0, 2.5, 100.0, 40.0)),
        ({"gpu_mhz": 1000, "sms": 2}, (5.0, 2.5, 100.0, 40.0)),
        ({"gpu_mhz": 500, "sms": 4}, (5.0, 2.5, 100.0, 40.0)),
        ({"emc_mhz": 1500}, (20.0, 10.0, 75.0, 40.0)),
        ({"dla_mhz": (500, 100)}, (20.0, 10.0, 100.0, 12.0)),
    ],
)
def test_each_clock_moves_its_own_peak(caps: dict[str, object], found: tuple[float, ...]) -> None:
    most = of(**caps)
    told = (most.int8_tops, most.fp16_tflops, most.bandwidth_gb_s, most.dla_int8_tops)
    assert told == pytest.approx(found)


def test_layers_without_tensor_cores_lose_with_the_multiprocessors_too() -> None:
    full, half = (roofline.Machine.of(ROUND, of(gpu_mhz=1000, sms=sms)) for sms in (8, 4))
    # 1024 cores x 2 operations x 1 GHz
    assert full.plain["fp32"] == pytest.approx(2.048e12)
    assert half.plain["fp32"] == pytest.approx(1.024e12)


def test_what_is_not_known_is_that_of_the_fastest_mode_and_said_to_be() -> None:
    most = of(gpu_mhz=500)
    assert (most.sms, most.bandwidth_gb_s) == (8, 100.0)
    assert [said.partition(" in mode")[0] for said in most.taken] == [
        "how many multiprocessors are on", "the memory's clock",
    ]  # fmt: skip
    assert "'mine' is not known: the most of any mode, all 8, stands for it" in most.taken[0]
    assert of(gpu_mhz=500, sms=8, emc_mhz=2000).taken == ()


def test_an_estimate_tells_what_was_taken_and_which_peaks_it_rests_on(tmp_path: Path) -> None:
    path = residual(tmp_path / "net.onnx")
    device = devices.find("orin-nano-8gb")
    found = estimate.estimate(path, "orin-nano-8gb", device, Wishes(power_mode="7W"))
    assert (found.gpu_mhz, found.sms) == (408, 8)
    assert found.bandwidth_gb_s == pytest.approx(102 * 2133 / 3199)
    (note,) = found.notes[1:]
    assert note.startswith("how many multiprocessors are on in mode '7W' is not known")
    known = estimate.estimate(path, "orin-nano-8gb", device, Wishes(power_mode="15W"))
    assert known.notes == (estimate.NOT_MEASURED,)


def test_a_mode_that_a_board_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        UsageError, match=r"Did you mean '15W'\? There are: 15W, 25W, 7W, MAXN_SUPER"
    ):
        peaks.of(BOARDS["orin-nano-8gb"], "15", "orin-nano-8gb")
    with pytest.raises(UsageError, match=r"'round' has no power mode 'x'\. None of its modes is"):
        peaks.of(ROUND, "x", "round")


@given(
    macs=st.integers(0, 10**10),
    moved=st.integers(0, 10**9),
    slow=st.tuples(st.floats(100, 1000), st.integers(1, 8), st.floats(100, 2000)),
    faster=st.tuples(st.floats(0, 1), st.integers(0, 7), st.floats(0, 1)),
)
def test_lower_clocks_or_fewer_parts_are_never_quicker(
    macs: int,
    moved: int,
    slow: tuple[float, int, float],
    faster: tuple[float, int, float],
) -> None:
    mhz, sms, emc_mhz = slow
    quick = (
        mhz + faster[0] * (1000 - mhz), min(8, sms + faster[1]),
        emc_mhz + faster[2] * (2000 - emc_mhz),
    )  # fmt: skip
    kernel = kernels.Kernel(["k"], "Conv", "int8", macs=macs, bytes=moved)
    ranges = [
        roofline.range_ms(
            kernel, roofline.Machine.of(ROUND, of(gpu_mhz=gpu, sms=on, emc_mhz=memory))
        )[0]
        for gpu, on, memory in (slow, quick)
    ]
    assert ranges[1].low <= ranges[0].low * (1 + 1e-9)
    assert ranges[1].high <= ranges[0].high * (1 + 1e-9)


@pytest.mark.parametrize("kind", BOARDS)
def test_no_mode_of_a_board_is_quicker_than_one_with_higher_clocks(
    kind: str, tmp_path: Path
) -> None:
    board, device = BOARDS[kind], devices.find(kind)
    path = residual(tmp_path / "net.onnx")
    found = {
        mode: estimate.estimate(path, kind, device, Wishes(batch=64, power_mode=mode)).p50_ms
        for mode in (None, *peaks.known(board))
    }
    most = {mode: peaks.of(board, mode, kind) for mode in found}
    for slow, mine in most.items():
        for quick, other in most.items():
            if mine.gpu_mhz * mine.sms <= other.gpu_mhz * other.sms and (
                mine.bandwidth_gb_s <= other.bandwidth_gb_s
            ):
                assert found[slow].low >= found[quick].low * (1 - 1e-9)
                assert found[slow].high >= found[quick].high * (1 - 1e-9)


def test_the_peaks_of_the_agx_orin_are_near_those_that_nvidia_gives_by_mode() -> None:
    # Deep-Learning-Accelerator-SW: sparse INT8 TOPS of the GPU and of both DLAs; dense is half.
    board = BOARDS["agx-orin-64gb"]
    for mode, gpu, dla in (("MAXN", 171, 105), ("MODE_50W", 109, 92), ("MODE_30W", 41, 90)):
        most = peaks.of(board, mode, "agx-orin-64gb")
        assert most.int8_tops == pytest.approx(gpu / 2, rel=0.03)
        assert most.dla_int8_tops == pytest.approx(dla / 2, rel=0.03)
    slow = peaks.of(board, "MODE_15W", "agx-orin-64gb")
    assert slow.dla_int8_tops == pytest.approx(40 / 2, rel=0.03)


def test_the_fastest_modes_are_those_that_cap_neither_gpu_nor_memory() -> None:
    assert peaks.fastest(BOARDS["orin-nx-16gb"]) == ["40W", "MAXN_SUPER"]
    assert peaks.fastest(BOARDS["agx-orin-64gb"]) == ["MAXN"]
    assert peaks.fastest(ROUND) == []
