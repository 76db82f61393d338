import fnmatch
import os

import pytest

from edgekd.agent import telemetry

STAT = """cpu  9 9 9 9 9 9 9 9 9 9
cpu0 100 10 20 1000 50 1 2 3 7 0
cpu1 200 20 40 2000 60 4 5 6 0 0
intr 12345
"""


def _serve(monkeypatch: pytest.MonkeyPatch, **contents: str) -> None:
    texts = {path.replace("_", "/"): text for path, text in contents.items()}
    monkeypatch.setattr(telemetry, "_lines", lambda path: texts.get(path, "").splitlines())


def test_only_allowed_cores_count_and_guest_time_is_not_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telemetry, "allowed_cores", lambda: [0])
    _serve(monkeypatch, _proc_stat=STAT)
    found = telemetry.snapshot([])
    # user 100 + nice 10 + system 20 + irq 1 + softirq 2 + steal 3; idle 1000 and iowait 50 are free
    assert found["busy_ticks"] == 136
    assert found["all_ticks"] == 1186


def test_own_time_is_found_behind_a_program_name_with_brackets_and_spaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "42 (a) b (c) S 1 1 1 0 -1 0 98 0 0 0 30 12 7 7 20 0 1 0\n"
    _serve(monkeypatch, _proc_42_stat=line)
    assert telemetry.snapshot([42])["own_ticks"] == 42  # 30 user, 12 system; not the children's


def test_time_of_a_process_that_is_gone_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, _proc_stat=STAT)
    assert telemetry.snapshot([42])["own_ticks"] is None


def test_sensors_that_are_not_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch)
    monkeypatch.setattr(telemetry.glob, "glob", lambda _pattern: [])
    found = telemetry.snapshot([])
    assert found == {
        "busy_ticks": None,
        "all_ticks": None,
        "own_ticks": 0,
        "cpu_mhz": None,
        "gpu_mhz": None,
        "temperature_c": None,
        "throttled": None,
        "throttling": [],
        "swapped_pages": None,
    }


def test_settings_that_are_not_told_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch)
    monkeypatch.setattr(telemetry.jetson, "power_mode", lambda: None)
    monkeypatch.setattr(telemetry.jetson, "gpu", lambda: None)
    assert set(telemetry.conditions().values()) == {None}


@pytest.mark.parametrize(("least", "locked"), [("1400000", True), ("700000", False)])
def test_a_core_is_locked_if_its_clock_has_no_room(
    monkeypatch: pytest.MonkeyPatch, least: str, *, locked: bool
) -> None:
    cpu = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_"
    texts = {cpu + "min_freq": least, cpu + "max_freq": "1400000"}
    monkeypatch.setattr(telemetry, "allowed_cores", lambda: [0])
    monkeypatch.setattr(telemetry, "_lines", lambda path: texts.get(path, "").splitlines())
    assert telemetry.conditions()["cpu_locked"] is locked


def test_counters_of_heat_current_and_swap_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/sys/class/hwmon/hwmon2/oc1_event_cnt": "4",
        "/sys/class/thermal/cooling_device3/type": "gpu-throttle-alert",
        "/sys/class/thermal/cooling_device3/cur_state": "1",
        "/sys/class/thermal/cooling_device4/type": "cpu-throttle-alert",
        "/sys/class/thermal/cooling_device4/cur_state": "0",
        "/sys/class/thermal/cooling_device5/type": "pwm-fan",
        "/sys/class/thermal/cooling_device5/cur_state": "3",
        "/proc/vmstat": "nr_free_pages 9\npswpin 2\npswpout 5\n",
    }
    monkeypatch.setattr(telemetry, "_lines", lambda path: texts.get(path, "").splitlines())
    monkeypatch.setattr(telemetry.glob, "glob", lambda pattern: fnmatch.filter(texts, pattern))
    found = telemetry.snapshot([])
    assert (found["throttled"], found["throttling"], found["swapped_pages"]) == (4, ["gpu"], 7)


def test_sensors_are_given_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "/sys/devices/system/cpu/cpu0/"
    texts = {
        cpu + "cpufreq/scaling_cur_freq": "1400000",
        cpu + "thermal_throttle/core_throttle_count": "3",
    }
    monkeypatch.setattr(telemetry.jetson, "temperatures", lambda: {"tj": 51.5, "cpu": 49.0})
    monkeypatch.setattr(telemetry, "allowed_cores", lambda: [0])
    monkeypatch.setattr(telemetry, "_lines", lambda path: texts.get(path, "").splitlines())
    monkeypatch.setattr(telemetry.glob, "glob", lambda pattern: fnmatch.filter(texts, pattern))
    found = telemetry.snapshot([])
    assert (found["cpu_mhz"], found["temperature_c"], found["throttled"]) == (1400, 51.5, 3)


def test_this_process_uses_memory_and_its_peak_is_no_less() -> None:
    now, peak = telemetry.memory_mib("VmRSS"), telemetry.memory_mib("VmHWM")
    assert now is not None
    assert peak is not None
    assert 1 < now <= peak


def test_own_ticks_of_this_process_grow_with_its_work() -> None:
    before = telemetry.snapshot([os.getpid()])["own_ticks"]
    while os.times().user + os.times().system < (before + 2) / os.sysconf("SC_CLK_TCK"):
        sum(range(10000))
    assert telemetry.snapshot([os.getpid()])["own_ticks"] > before
