"""What a Jetson is asked, on trees of files as four of them have; see tests/data/jetson."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.agent import jetson

TREES = Path(__file__).parents[1] / "data" / "jetson"
NAMES = ["orin-nano-jp6", "agx-orin-jp6", "xavier-jp5", "thor-jp7"]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetson, "_LOOK_S", 0.0)


def facts(name: str) -> dict[str, object]:
    found = jetson.facts(str(TREES / name))
    assert found is not None
    return found


def test_a_jetson_says_what_it_is() -> None:
    assert facts("orin-nano-jp6") == {
        "model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "compatible": [
            "nvidia,p3768-0000+p3767-0005-super",
            "nvidia,p3767-0005",
            "nvidia,tegra234",
        ],
        "l4t": "36.4.3",
        "tensorrt": "10.3.0.30",
        "cuda": "12.6.68",
        "power_mode": "MAXN_SUPER",
        "gpu_load": 0.02,
        "gpu": {"now_mhz": 306.0, "min_mhz": 306.0, "max_mhz": 1020.0, "locked": False},
        "temperatures_c": {
            "cpu-thermal": 53.968,
            "gpu-thermal": 53.343,
            "soc2-thermal": 52.437,
            "tj-thermal": 53.968,
        },
    }


@pytest.mark.parametrize(
    ("name", "l4t", "tensorrt", "mode", "max_mhz"),
    [
        ("agx-orin-jp6", "36.4.3", "10.3.0.30", "MAXN", 1300.5),  # a container, and a warning
        ("xavier-jp5", "35.4.1", "8.5.2", "MODE_15W", 1377.0),
        ("thor-jp7", "38.2.2", None, "120W", 1575.0),
    ],
)
def test_generations_say_it_in_their_own_ways(
    name: str, l4t: str, tensorrt: str | None, mode: str, max_mhz: float
) -> None:
    found = facts(name)
    assert (found["l4t"], found["tensorrt"], found["power_mode"]) == (l4t, tensorrt, mode)
    assert isinstance(found["gpu"], dict)
    assert found["gpu"]["max_mhz"] == max_mhz


LOADS = (
    "sys/class/devfreq/17000000.ga10b/device",
    "sys/class/devfreq/17000000.gv11b/device",
    "sys/devices/platform/gpu.0",
    "sys/devices/gpu.0",
)


@pytest.mark.parametrize("place", LOADS)
def test_the_gpus_load_is_in_thousandths_wherever_it_lies(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "load").write_text("373\n")
    assert jetson.gpu_load(str(tmp_path)) == pytest.approx(0.373)


def test_the_first_look_at_the_gpu_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(["1000", *["200", None] * 5])  # a driver that is asleep may refuse a look
    monkeypatch.setattr(jetson, "text", lambda *_: next(looks))
    assert jetson.gpu_load(str(TREES / "orin-nano-jp6")) == pytest.approx(0.2)


def test_another_parts_load_is_not_the_gpus(tmp_path: Path) -> None:
    (tmp_path / "sys/class/devfreq/15880000.nvdla0/device").mkdir(parents=True)
    (tmp_path / "sys/class/devfreq/15880000.nvdla0/device/load").write_text("1000")
    assert jetson.gpu_load(str(tmp_path)) is None


@given(st.integers(0, 1000), st.sampled_from(["", " ", "\n", "\t\n"]))
def test_a_load_is_a_thousandth_each(load: int, space: str) -> None:
    assert jetson.share(f"{space}{load}{space}") == load / 1000


@given(st.one_of(st.text(), st.integers().map(str), st.floats().map(str), st.none()))
def test_whatever_is_written_a_load_is_a_share_or_unknown(text: str | None) -> None:
    share = jetson.share(text)
    assert share is None or 0 <= share <= 1
    if share is not None:
        assert text is not None
        assert float(text) == pytest.approx(1000 * share)


@pytest.mark.parametrize("text", ["-1", "1001", "37 %", "3.7", "nan", "0x10", "\u0663", "1 2"])
def test_what_is_no_load_is_unknown(text: str) -> None:
    assert jetson.share(text) is None


def test_equal_bounds_are_a_locked_clock() -> None:
    gpu = facts("agx-orin-jp6")["gpu"]
    assert isinstance(gpu, dict)
    assert gpu["locked"]


def test_the_sensor_of_a_part_that_is_off_has_no_temperature() -> None:
    assert facts("agx-orin-jp6")["temperatures_c"] == {"cpu-thermal": 44.562, "tj-thermal": 44.343}


def test_the_zone_that_always_says_100_degrees_is_left_out() -> None:
    found = facts("xavier-jp5")["temperatures_c"]
    assert found == {"CPU-therm": 28.0, "GPU-therm": 28.0, "Tboard_tegra": 27.0}


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    for name in ("model", "compatible"):
        (tmp_path / "proc/device-tree").mkdir(parents=True, exist_ok=True)
        shutil.copy(TREES / "thor-jp7/proc/device-tree" / name, tmp_path / "proc/device-tree")
    (tmp_path / "sys/class/devfreq/gpu-gpc-0/max_freq").mkdir(parents=True)  # reading it fails
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").mkdir(parents=True)
    (tmp_path / "usr/local/cuda").mkdir(parents=True)
    (tmp_path / "usr/local/cuda/version.json").write_text("[]")
    found = jetson.facts(str(tmp_path))
    assert found is not None
    assert found["temperatures_c"] == {}
    unknown = [found[key] for key in ("l4t", "tensorrt", "cuda", "power_mode", "gpu")]
    assert unknown == [None] * 5


@pytest.mark.parametrize("said", ["R36 (release)", "# R36 (release), REVISION: x", "", "\x00"])
def test_a_release_that_is_written_otherwise_is_not_guessed(tmp_path: Path, said: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(said)
    assert jetson._l4t(str(tmp_path)) is None


def test_other_machines_are_no_jetsons(tmp_path: Path) -> None:
    assert jetson.facts(str(tmp_path)) is None
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    (tmp_path / "proc/device-tree/compatible").write_text("raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert jetson.facts(str(tmp_path)) is None


def test_trtexec_is_found_where_jetpack_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jetson.trtexec(str(tmp_path)) is None
    program = tmp_path / "usr/src/tensorrt/bin/trtexec"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert jetson.trtexec(str(tmp_path)) == str(program)
