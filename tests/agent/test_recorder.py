"""What is recorded beside models that run, on trees of files as Jetsons have them."""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgekd.agent import recorder
from edgekd.agent.recorder import Recorder

TREES = Path(__file__).parents[1] / "data" / "jetson"
PATIENCE_S = 60.0  # of a busy machine


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return what is written to stdout from now on."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(recorder, "emit", lambda kind, **fields: lines.append({kind: fields}))
    return lines


def told(recorded: Recorder, said: list[dict[str, Any]]) -> dict[str, Any]:
    recorded.tell()
    (line,) = said
    found: dict[str, Any] = line["series"]
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_a_board_tells_zones_clock_and_rails_at_both_ends(said: list[dict[str, Any]]) -> None:
    root = str(TREES / "orin-nano-jp6")
    with closing(Recorder(power=True, interval_ms=3_600_000, root=root)) as recorded:
        pass
    found = told(recorded, said)
    assert len(found["times_ns"]) == 2
    assert found["temperatures_c"]["gpu-thermal"] == [53.343, 53.343]
    assert set(found["temperatures_c"]) == {
        "cpu-thermal", "gpu-thermal", "soc2-thermal", "tj-thermal",
    }  # fmt: skip
    assert found["gpu_mhz"] == [306.0, 306.0]
    assert (found["source"], found["unit"], found["no_power"]) == ("ina3221", "mW", None)
    assert found["rails"]["VDD_IN"] == pytest.approx([12479.808] * 2)


def test_temperature_and_clock_are_read_again_while_models_run(
    tmp_path: Path, said: list[dict[str, Any]]
) -> None:
    tree = tmp_path / "board"
    shutil.copytree(TREES / "orin-nano-jp6", tree)
    zone = tree / "sys/class/thermal/thermal_zone0"
    with closing(Recorder(power=False, interval_ms=5, root=str(tree))) as recorded:
        with recorded.turn(1):
            (zone / "temp").write_text("97000\n")
            (tree / "sys/class/devfreq/17000000.gpu/cur_freq").write_text("612000000\n")
            count = len(recorded._readings)
            wait_for(lambda: len(recorded._readings) > count + 2)
        (zone / "temp").unlink()  # a part that is switched off
        count = len(recorded._readings)
        wait_for(lambda: len(recorded._readings) > count + 2)
    found = told(recorded, said)
    ((subject, start_ns, end_ns),) = found["turns"]
    name = (zone / "type").read_text().strip()
    inside = [
        (heat, clock)
        for time_ns, heat, clock in zip(
            found["times_ns"], found["temperatures_c"][name], found["gpu_mhz"], strict=True
        )
        if start_ns < time_ns < end_ns
    ]
    assert subject == 1
    assert (97.0, 612.0) in inside
    assert found["temperatures_c"][name][-1] is None
    assert found["times_ns"] == sorted(found["times_ns"])
    assert found["rails"] == {}


def test_a_part_that_is_held_down_is_told(tmp_path: Path, said: list[dict[str, Any]]) -> None:
    device = tmp_path / "sys/class/thermal/cooling_device2"
    device.mkdir(parents=True)
    (device / "type").write_text("gpu-throttle-alert\n")
    (device / "cur_state").write_text("0\n")
    recorded = Recorder(power=False, interval_ms=3_600_000, root=str(tmp_path))
    (device / "cur_state").write_text("1\n")
    recorded.close()
    assert told(recorded, said)["throttling"] == [[], ["gpu"]]


def test_a_machine_without_sensors_says_why_there_is_no_power(
    tmp_path: Path, said: list[dict[str, Any]]
) -> None:
    with closing(Recorder(power=True, interval_ms=3_600_000, root=str(tmp_path))) as recorded:
        pass
    found = told(recorded, said)
    assert (found["source"], found["temperatures_c"]) == (None, {})
    assert found["no_power"].startswith("this machine has no power sensor")
    assert "tegrastats" not in found["no_power"]  # a program, which is not asked for


def test_no_program_is_started(tmp_path: Path, said: list[dict[str, Any]]) -> None:
    # This board has a tegrastats, which would disturb what is measured, and no chip in /sys.
    root = str(TREES / "xavier-jp5")
    with closing(Recorder(power=True, interval_ms=3_600_000, root=root)) as recorded:
        pass
    found = told(recorded, said)
    assert found["source"] is None
    assert found["temperatures_c"]["GPU-therm"] == [28.0, 28.0]
