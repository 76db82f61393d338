from pathlib import Path
from typing import Any

import pytest

from edgekd.agent import jetson
from edgekd.remote import checkup, devices, inventory, lines
from edgekd.remote.session import Local

TREES = Path(__file__).parents[1] / "data" / "jetson"
PROBE: dict[str, Any] = {
    "schema_version": 1, "type": "probe", "machine": "board", "architecture": "aarch64",
    "flags": [], "cores": 6, "memory_mib": 7620, "free_mib": 5000, "os": "Linux 5.15",
    "python": "3.10.12", "numpy": "1.21.5", "engines": {"tensorrt": "10.3.0", "onnxruntime": None},
    "trtexec": "/usr/src/tensorrt/bin/trtexec", "power": "tegrastats", "cpu_locked": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetson, "_LOOK_S", 0.0)


def found(kind: str, tree: str | None = None, **changes: Any) -> dict[str, checkup.Finding]:
    facts = jetson.facts(str(TREES / tree)) if tree else None
    probe = lines.Probe.model_validate(PROBE | {"jetson": facts} | changes)
    place = inventory.Place("line-3", kind, devices.find(kind), Local())
    return {finding.name: finding for finding in checkup.examine(place, probe)}


def test_a_board_that_lacks_nothing_is_all_right_but_for_its_clock() -> None:
    states = {name: each.state for name, each in found("orin-nano-8gb", "orin-nano-jp6").items()}
    assert states.pop("GPU clock") == "warning"
    assert set(states.values()) == {"ok"}


def test_a_clock_that_follows_the_load_is_told_with_its_mend() -> None:
    clock = found("orin-nano-8gb", "orin-nano-jp6")["GPU clock"]
    assert clock.summary.startswith("306 to 1020 MHz: it follows the load")
    assert "jetson_clocks" in clock.summary


def test_a_locked_clock_is_all_right() -> None:
    clock = found("agx-orin-64gb", "agx-orin-jp6")["GPU clock"]
    assert (clock.state, clock.summary) == ("ok", "locked at 1300.5 MHz")


@pytest.mark.parametrize(
    ("locked", "state", "words"),
    [(True, "ok", "locked"), (False, "warning", "jetson_clocks"), (None, "unknown", "not say")],
)
def test_the_processors_clock_is_told_on_every_device(
    *, locked: bool | None, state: str, words: str
) -> None:
    clock = found("host-cpu", cpu_locked=locked)["CPU clock"]
    assert clock.state == state
    assert words in clock.summary


def test_a_power_mode_that_caps_the_clock_is_told() -> None:
    gpu = {"now_mhz": 408.0, "min_mhz": 408.0, "max_mhz": 408.0, "locked": True}
    facts = jetson.facts(str(TREES / "orin-nano-jp6"))
    assert facts is not None
    clock = found("orin-nano-8gb", None, jetson=facts | {"gpu": gpu})["GPU clock"]
    assert clock.summary == "locked at 408 MHz, 1020 MHz in its fastest power mode"


def test_a_wrong_kind_in_the_inventory_is_told_with_the_right_one() -> None:
    kind = found("orin-nano-4gb", "orin-nano-jp6")["kind"]
    assert kind.state == "warning"
    assert 'set profile = "orin-nano-8gb"' in kind.summary


def test_an_unknown_module_is_no_known_kind() -> None:
    facts = jetson.facts(str(TREES / "orin-nano-jp6"))
    assert facts is not None
    unknown = facts | {"compatible": ["nvidia,p9999-0000", "nvidia,tegra999"]}
    assert found("orin-nano-8gb", None, jetson=unknown)["kind"].state == "unknown"


def test_a_pc_in_the_place_of_a_board_is_told() -> None:
    assert "it is no Jetson" in found("orin-nano-8gb")["kind"].summary


def test_a_nano_is_looked_at_but_takes_no_models() -> None:
    assert "use an Orin" in found("nano")["kind"].summary


@pytest.mark.parametrize(
    ("changes", "name", "mend"),
    [
        ({"numpy": None}, "numpy", "python3-numpy"),
        ({"engines": {"tensorrt": None}}, "tensorrt", "python3-libnvinfer"),
        ({"trtexec": None}, "trtexec", "'trtexec'"),
    ],
)
def test_what_is_missing_is_told_with_its_mend(
    changes: dict[str, Any], name: str, mend: str
) -> None:
    finding = found("orin-nano-8gb", "orin-nano-jp6", **changes)[name]
    assert finding.state == "missing"
    assert mend in finding.summary


def test_the_source_of_power_is_told_or_why_there_is_none() -> None:
    sensor = found("orin-nano-8gb", "orin-nano-jp6")["power sensor"]
    assert (sensor.state, sensor.summary) == ("ok", "tegrastats")
    none = found("orin-nano-8gb", power=None, no_power="rapl is for root")["power sensor"]
    assert (none.state, none.summary) == ("missing", "no energy is measured: rapl is for root")


def test_scarce_memory_is_told() -> None:
    memory = found("orin-nano-8gb", "orin-nano-jp6", free_mib=1023)["memory"]
    assert memory.state == "warning"
    assert memory.summary.startswith("1023 of 7620 MiB free: ")


def test_a_hot_board_is_told() -> None:
    facts = jetson.facts(str(TREES / "orin-nano-jp6"))
    assert facts is not None
    hot = facts | {"temperatures_c": {"cpu-thermal": 50.0, "tj-thermal": 80.5}}
    assert found("orin-nano-8gb", None, jetson=hot)["temperature"].state == "warning"
    just = facts | {"temperatures_c": {"tj-thermal": 80.0}}
    assert found("orin-nano-8gb", None, jetson=just)["temperature"].state == "ok"


@pytest.mark.parametrize(("load", "state"), [(0.10, "ok"), (0.11, "warning"), (None, "unknown")])
def test_a_gpu_that_others_use_is_told(load: float | None, state: str) -> None:
    facts = jetson.facts(str(TREES / "orin-nano-jp6"))
    assert facts is not None
    told = found("orin-nano-8gb", None, jetson=facts | {"gpu_load": load})["GPU load"]
    assert told.state == state
    assert ("11 %, of other programs: end" in told.summary) == (state == "warning")


def test_what_the_board_does_not_say_is_unknown_and_no_fault() -> None:
    facts = jetson.facts(str(TREES / "orin-nano-jp6"))
    assert facts is not None
    silent = dict.fromkeys(["l4t", "power_mode", "gpu"]) | {"temperatures_c": {}}
    states = found("orin-nano-8gb", None, jetson=facts | silent)
    for name in ("JetPack", "power mode", "GPU clock", "temperature"):
        assert states[name].state == "unknown"


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("32.7.4", "4.6"), ("35.1", "5.0.2"), ("35.4.1", "5.1.2"), ("35.6.3", "5.1"),
        ("36.3.0", "6.0"), ("36.4.0", "6.1"), ("36.4.3", "6.2"), ("36.4.7", "6.2.1"),
        ("38.2.2", "7.0"), ("39.2", "7.2"), ("36.4.9", None), ("35.10", None),
        ("40.1", None), ("3.9", None),
    ],
)  # fmt: skip
def test_a_release_is_that_of_a_jetpack_or_unknown(l4t: str, jetpack: str | None) -> None:
    assert devices.jetpack(l4t) == jetpack


def test_the_page_about_boards_shows_what_the_doctor_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "boards.md").read_text()
    for each in found("orin-nano-8gb", "orin-nano-jp6").values():
        row = f"{each.name:<13}{each.state:<9}{each.summary}"
        assert row.partition(":")[0].rstrip() in page  # mends take another line there


def test_this_machine_can_be_visited() -> None:
    findings = {finding.name: finding for finding in checkup.visit("host-cpu")}
    assert findings["kind"].summary == "host-cpu"
    assert findings["onnxruntime"].state == "ok"
