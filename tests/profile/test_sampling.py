"""The whole way of energy: agent, workers, and a stand-in for tegrastats on the PATH."""

import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import checking, files, records, specs
from edgekd.core.errors import DeviceError, UsageError
from edgekd.core.progress import Silent
from edgekd.profile import doubts, local, sampling
from edgekd.profile.local import Subject
from edgekd.remote import inventory, session
from tests import nets
from tests.standins import power

IMAGES = np.ones((1, 1, 2, 2), np.float32)


def measure(folder: Path, *names: str) -> records.Measurement:
    subjects = []
    for name in names:
        path = nets.linear(folder / f"{name}.onnx", np.eye(4), (1, 2, 2))
        subjects.append(Subject(name, path, files.sha256_of(path)))
    spec = specs.Profile(blocks=6, runs=5, energy=True)
    return local.measure(subjects, spec, IMAGES, folder / "out")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        power.install(patch, folder)
        measure(folder, "teacher", "student")
    return folder / "out"


@pytest.fixture
def record(measured: Path) -> records.Measurement:
    return records.read(records.Measurement, measured / "measurement.json")


def test_idle_power_and_where_it_is_from_are_recorded(record: records.Measurement) -> None:
    found = record.energy
    assert found is not None
    assert found.missing is None
    assert (found.source, found.rails, found.scope) == ("tegrastats", ("VDD_IN",), "module")
    assert found.idle_mw is not None
    assert all(4000 <= power_mw < 6000 for power_mw in found.idle_mw)  # 4 W, and a little noise
    assert found.blocks == 6
    assert found.fewest_readings >= 3


def test_a_model_that_runs_takes_more_than_an_idle_machine(record: records.Measurement) -> None:
    assert record.energy is not None
    assert record.energy.idle_mw is not None
    for timing in record.timings:
        use = timing.energy
        assert use is not None
        assert max(record.energy.idle_mw) < use.power_mw <= 10000  # the stand-in's most
        assert 0 < use.per_image_mj.low <= use.per_image_mj.value <= use.per_image_mj.high
        assert use.per_image_mj.value < use.gross_per_image_mj
        assert use.images > 6
    ratios = [timing.energy.ratio_to_first for timing in record.timings if timing.energy]
    assert ratios[0] is None
    assert ratios[1] is not None


def test_what_ran_while_energy_was_measured_is_recorded_for_other_sensors(
    record: records.Measurement,
) -> None:
    assert record.energy is not None
    series = record.energy.series
    assert series is not None
    subjects = [turn.subject for turn in series.turns]
    assert (subjects[0], subjects[-1]) == (None, None)  # idle, before and after
    assert set(subjects[1:-1]) == {"teacher", "student"}
    assert (series.power_w, series.no_power) == ((), None)  # the readings of the energy have it


def test_the_readings_are_kept_beside_the_record(
    measured: Path, record: records.Measurement
) -> None:
    assert record.energy is not None
    assert record.energy.readings_file == "samples.power.npz"
    assert record.energy.readings_sha256 is not None
    file = measured / record.energy.readings_file
    records.check_file(file, record.energy.readings_sha256)
    with np.load(file, allow_pickle=False) as kept:
        assert kept["rails"].tolist() == ["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"]
        assert len(kept["stretches"]) == 1 + 6 * 2 + 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("hung", "tegrastats told no power for"),
        ("silent", "tegrastats fell silent for"),
    ],
)
def test_a_sensor_that_fails_spoils_the_energy_and_not_the_latency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    power.install(monkeypatch, tmp_path, fault)
    monkeypatch.setattr(sampling, "RUN_S", 0.5)  # longer than the stand-in speaks
    found = measure(tmp_path, "net")
    assert found.energy is not None
    assert found.energy.missing is not None
    assert reason in found.energy.missing
    assert found.timings[0].energy is None
    assert found.timings[0].p50_ms.value > 0


def test_other_programs_are_a_doubt_about_the_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path)
    monkeypatch.setattr(doubts, "FOREIGN_RATIO", -1.0)  # any, even none
    found = measure(tmp_path, "net").energy
    assert found is not None
    told = [doubt for doubt in found.doubts if doubt.startswith("other programs took")]
    assert len(told) == 1
    assert told[0].endswith("while energy was measured")


def test_energy_is_not_measured_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path)
    path = nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))
    subject = Subject("net", path, files.sha256_of(path))
    found = local.measure([subject], specs.Profile(blocks=6, runs=5), IMAGES, tmp_path / "out")
    assert found.energy is None
    assert not (tmp_path / "out" / "samples.power.npz").exists()


def test_an_agent_that_sends_no_power_is_refused(
    record: records.Measurement, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """print('{"schema_version": 1, "type": "done"}')"""
    monkeypatch.setattr(session, "local_command", lambda: [sys.executable, "-S", "-c", script])
    models = [measured.parent / f"{timing.subject}.onnx" for timing in record.timings]
    place = inventory.usable("host-cpu", None)
    with pytest.raises(DeviceError, match="sent no readings of power"):
        sampling.with_energy(record, models, IMAGES, place, tmp_path / "power.npz", Silent())


@pytest.mark.parametrize("more", [{"scenario": "multi", "streams": 2}, {"builds": 2}], ids=str)
def test_energy_of_several_streams_or_builds_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="energy is that of one stream of one build"):
        checking.checked(specs.Profile, {"energy": True, **more}, "profile")
