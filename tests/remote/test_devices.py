from pathlib import Path

import pytest

from edgekd.agent import jetson
from edgekd.core import catalogue
from edgekd.core.errors import UsageError
from edgekd.remote import devices, lines


@pytest.mark.parametrize("name", catalogue.names("profiles"))
def test_every_built_in_device_can_be_used(name: str) -> None:
    assert devices.find(name).description


def test_an_unknown_device_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean 'host-cpu'"):
        devices.find("hostcpu")


def test_an_unknown_key_in_a_users_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('description = "x"\nreach = "local"\nengin = "onnxruntime"\n')
    with pytest.raises(UsageError, match="Did you mean 'engine'"):
        devices.find(str(file))


BOARDS = [name for name in catalogue.names("profiles") if devices.find(name).board]
# Dense operations a clock and SM: INT8 and FP16 on the tensor cores of Volta and Ampere.
PER_CLOCK = {"7.2": (2048, 1024), "8.7": (4096, 2048)}


def board(name: str) -> devices.Board:
    found = devices.find(name).board
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name", [name for name in BOARDS if board(name).compute_capability in PER_CLOCK]
)
def test_the_peaks_are_those_of_the_clock_and_the_cores(name: str) -> None:
    facts = board(name)
    int8, fp16 = PER_CLOCK[facts.compute_capability]
    clocks_of_all = facts.sms * facts.gpu_mhz * 1e6
    assert facts.int8_tops == pytest.approx(int8 * clocks_of_all / 1e12, abs=0.05)
    assert facts.fp16_tflops == pytest.approx(fp16 * clocks_of_all / 1e12, abs=0.05)


@pytest.mark.parametrize("name", BOARDS)
def test_every_multiprocessor_has_128_cores_but_voltas_64(name: str) -> None:
    facts = board(name)
    assert facts.cores == facts.sms * (64 if facts.compute_capability == "7.2" else 128)


@pytest.mark.parametrize("name", BOARDS)
def test_some_mode_is_as_fast_as_the_board(name: str) -> None:
    facts = board(name)
    clocks = [mode.gpu_mhz for mode in facts.modes if mode.gpu_mhz is not None]
    assert not clocks or max(clocks) == facts.gpu_mhz


# Two transfers a clock over a bus of so many bits (NVIDIA's data sheets) make the bandwidth.
BITS = {"orin-nano-4gb": 64, "nano": 64, "agx-orin-32gb": 256, "agx-orin-64gb": 256,
        "agx-xavier": 256}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BOARDS if board(name).emc_mhz])
def test_the_bandwidth_is_that_of_the_memorys_clock(name: str) -> None:
    facts = board(name)
    assert facts.emc_mhz is not None
    made = 2 * facts.emc_mhz * 1e6 * BITS.get(name, 128) / 8 / 1e9
    assert facts.bandwidth_gb_s == pytest.approx(made, rel=0.01)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ({"gpu_mhz": 1400}, "mode 'X': gpu_mhz is 1400, but that of the board, its highest, is"),
        ({"sms": 17}, "sms is 17"),
        ({"emc_mhz": 4000}, "emc_mhz is 4000"),
        ({"dla_mhz": (600,)}, "a clock for each of 2 cores"),
        ({"dla_mhz": (600, 2000)}, "none above the board's dla_mhz, 1600"),
    ],
)
def test_a_mode_that_exceeds_its_board_is_refused(mode: dict[str, object], words: str) -> None:
    facts = board("agx-orin-64gb").model_dump()
    with pytest.raises(ValueError, match=words):
        devices.Board.model_validate(facts | {"modes": [{"name": "X", **mode}]})


def test_boards_without_int8_are_refused_with_the_way_out() -> None:
    without = {name for name in BOARDS if board(name).int8_tops is None}
    assert without == {"nano", "tx2"}
    assert without == {name for name in BOARDS if devices.find(name).refuses}
    assert "use an Orin" in str(devices.find("nano").refuses)


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        ("orin-nano-jp6", "orin-nano-8gb"),
        ("agx-orin-jp6", "agx-orin-64gb"),
        ("xavier-jp5", "agx-xavier"),
        ("thor-jp7", "thor-t5000"),
    ],
)
def test_a_board_is_recognised_by_the_part_number_of_its_module(tree: str, kind: str) -> None:
    facts = jetson.facts(str(Path(__file__).parents[1] / "data" / "jetson" / tree))
    assert devices.kind_of(lines.Jetson.model_validate(facts)) == kind


def test_no_two_kinds_share_a_part_number() -> None:
    parts = [part for name in BOARDS for part in board(name).parts]
    clashes = [(a, b) for a in parts for b in parts if a is not b and a in b]
    assert clashes == []
