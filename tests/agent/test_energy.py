"""What is sampled beside models that run; see tests/profile/test_energy.py for the whole way."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.agent import energy, sensors
from edgekd.agent.sensors import SensorError
from edgekd.remote import bundle
from tests import nets
from tests.standins import power


class Sensor:
    """A source that gives these readings, then falls silent or ends."""

    name, unit = "test", "mW"

    def __init__(self, *readings: dict[str, float], ends: bool = False) -> None:
        self._readings = list(readings)
        self._ends = ends
        self._closed = threading.Event()

    def read(self) -> dict[str, float] | None:
        if self._readings:
            return self._readings.pop(0)
        if not self._ends:
            self._closed.wait()
        return None

    def close(self) -> None:
        self._closed.set()


def sampled(sensor: Sensor) -> energy.Sampler:
    sampler = energy.Sampler(sensor, 10, 0.05)
    try:
        sampler.wait()
        while sensor._readings:
            time.sleep(0.001)
        sampler._silence_s = 0.0
        sampler.check()
    finally:
        sampler.close()
    return sampler


def test_a_sensor_that_falls_silent_is_noticed() -> None:
    with pytest.raises(SensorError, match="test fell silent for"):
        sampled(Sensor(*[{"a": 1.0}] * 3))


def test_a_sensor_that_is_far_too_slow_is_noticed() -> None:
    with pytest.raises(SensorError, match="told its power only 2 times"):
        sampled(Sensor(*[{"a": 1.0}] * 2))


def test_a_sensor_that_ends_is_noticed() -> None:
    with pytest.raises(SensorError, match="test ended after 0 readings"):
        sampled(Sensor(ends=True))


@pytest.mark.parametrize("readings", [[], [{}, {}]], ids=["hangs", "lines without a rail"])
def test_a_sensor_that_never_tells_a_power_is_noticed(
    readings: list[dict[str, float]],
) -> None:
    with pytest.raises(SensorError, match="test told no power for"):
        sampled(Sensor(*readings))


def test_a_reading_of_other_rails_than_the_first_is_left_out() -> None:
    whole = {"b": 2.0, "a": 1.0}
    sampler = energy.Sampler(Sensor(whole, {"a": 9.0}, {}, whole, ends=True), 10, 0.05)
    sampler.close()
    assert sampler.rails == ("a", "b")
    assert sampler.values == [[1.0, 2.0], [1.0, 2.0]]
    assert sampler.times_ns == sorted(sampler.times_ns)


def test_a_stretch_counts_the_runs_behind_its_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])

    def run() -> None:
        now[0] += 300_000_000

    # 0.3, 0.6 s settle; then 0.6 ... 1.8 s are the first 1 s or more that end with a run
    found = energy.stretch(run, 0.5, 1.0)
    assert found == {"runs": 4, "start_ns": 600_000_000, "end_ns": 1_800_000_000}


def test_a_run_that_is_longer_than_the_stretch_is_counted_once() -> None:
    found = energy.stretch(lambda: time.sleep(0.002), 0.0, 0.0)
    assert found["runs"] == 1
    assert found["end_ns"] - found["start_ns"] >= 2_000_000


def test_no_sensor_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    def none(interval_ms: int) -> None:
        raise SensorError(f"nothing at {interval_ms} ms")

    monkeypatch.setattr(sensors, "open_source", none)
    monkeypatch.setattr(
        energy, "emit", lambda kind, **fields: said.append({"type": kind, **fields})
    )
    energy.measure([], [], {"interval_ms": 7})
    assert said == [{"type": "power", "source": None, "reason": "nothing at 7 ms"}]


def test_the_zipped_agent_samples_beside_models_that_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path)
    bundle.write(tmp_path / "agent.pyz")
    np.save(tmp_path / "images.npy", np.ones((1, 1, 2, 2), np.float32))
    models = [nets.linear(tmp_path / f"{name}.onnx", np.eye(4), (1, 2, 2)) for name in "ab"]
    wanted = {
        "schema_version": 1,
        "engine": "onnxruntime",
        "images": str(tmp_path / "images.npy"),
        "threads": 1,
        "blocks": 0,
        "runs": 0,
        "warm_up_s": [0.0, 0.05],
        "subjects": [{"name": model.stem, "path": str(model)} for model in models],
        "energy": {
            "blocks": 2, "interval_ms": 10, "patience_s": 5.0, "readings": 2, "settle_s": 0.0,
            "run_s": 0.05, "idle_s": 0.05,
        },
    }  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(wanted))
    done = subprocess.run(
        [sys.executable, "agent.pyz", "run", "request.json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    stretches = [line for line in said if line["type"] == "stretch"]
    places = [(line["subject"], line["block"]) for line in stretches]
    assert places == [(None, None), (0, 0), (1, 0), (1, 1), (0, 1), (None, None)]
    ends = [end for line in stretches for end in (line["start_ns"], line["end_ns"])]
    assert ends == sorted(ends)  # of one clock, one behind the other
    (told,) = [line for line in said if line["type"] == "power"]
    assert (told["source"], told["unit"]) == ("tegrastats", "mW")
    assert told["rails"] == ["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"]
    assert {len(row) for row in told["values"]} == {3}
    assert len(told["times_ns"]) == len(told["values"])
    assert told["times_ns"][0] < ends[0] < ends[-1] < told["times_ns"][-1]
