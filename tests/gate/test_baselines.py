from pathlib import Path
from typing import Any

import pytest

from edgekd.core import files, records, run_folder
from edgekd.core.errors import InconclusiveError, RecordError
from edgekd.core.records import Measurement
from edgekd.gate import baselines
from tests import builders


def measured(run: Path, **changes: Any) -> Measurement:
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, **changes)
    return records.read(Measurement, path)


def written(tmp_path: Path, **changes: Any) -> tuple[Path, Measurement]:
    """Write a run's baseline; return its folder, and the run's measurement."""
    run = builders.make_run(tmp_path / "run")
    measurement = measured(run, **changes)
    folder = tmp_path / "baselines"
    found = baselines.of(run_folder.read(run), measurement)
    records.write(found, baselines.path(folder, measurement.device))
    return folder, measurement


def test_baseline_keeps_what_each_artifact_needed(tmp_path: Path) -> None:
    folder, measurement = written(tmp_path)
    found = baselines.read(folder, measurement)
    timing = measurement.timings[-1]
    assert set(found.entries) == {one.subject for one in measurement.timings}
    assert found.entries[timing.subject].p50_ms == timing.p50_ms
    assert found.entries[timing.subject].sha256 == timing.sha256
    assert found.engine == measurement.engine
    assert measurement.samples_sha256 in found.parents


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("machine", "Orin NX", "machine 'Test processor, 2 cores' then, 'Orin NX' now"),
        ("power_mode", "15W", "power mode 'MAXN' then, '15W' now"),
        ("engine", "tensorrt 10.7.0", "engine 'tensorrt 10.3.0' then, 'tensorrt 10.7.0' now"),
        ("batch", 8, "batch '1' then, '8' now"),
        ("threads", 4, "threads '1' then, '4' now"),
        ("scenario", "offline", "scenario 'single' then, 'offline' now"),
        ("streams", 2, "streams '1' then, '2' now"),
    ],
)
def test_other_conditions_are_refused_and_named(
    tmp_path: Path, field: str, value: Any, said: str
) -> None:
    folder, measurement = written(tmp_path, engine="tensorrt 10.3.0", power_mode="MAXN")
    assert baselines.read(folder, measurement)
    with pytest.raises(RecordError) as caught:
        baselines.read(folder, measurement.model_copy(update={field: value}))
    assert f"cannot be compared with this run: {said}. Measure" in str(caught.value)


def test_another_device_has_no_baseline_and_the_command_that_writes_one_is_said(
    tmp_path: Path,
) -> None:
    folder, measurement = written(tmp_path)
    other = measurement.model_copy(update={"device": "orin"})
    with pytest.raises(RecordError, match=r"no baseline .*orin.json': write one with `edgekd gate"):
        baselines.read(folder, other)


@pytest.mark.parametrize("device", ["../orin", "a/b", "/orin", ""])
def test_a_device_cannot_lead_out_of_the_folder(tmp_path: Path, device: str) -> None:
    with pytest.raises(RecordError, match="must do as a file name"):
        baselines.path(tmp_path, device)


def test_disturbed_measurement_is_no_baseline(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    measurement = measured(run, warnings=("the board throttled",))
    with pytest.raises(InconclusiveError, match="the board throttled: measure again") as caught:
        baselines.of(run_folder.read(run), measurement)
    assert caught.value.exit_status == 3


def test_latency_of_an_earlier_export_is_no_baseline(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(records.Artifact, path, sha256="0" * 64)
    with pytest.raises(RecordError, match="latency of 'onnx-int8' belongs to another file"):
        baselines.of(run_folder.read(run), measured(run))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"schema_version": 1', '"schema_version": 2'),
        ('"engine"', '"motor"'),
        ('"bytes": 400000', '"bytes": 0'),
        ('"peak_memory_mib": 48.0', '"peak_memory_mib": NaN'),
        ("{", ""),
    ],
)
def test_damaged_baseline_is_refused(tmp_path: Path, old: str, new: str) -> None:
    folder, measurement = written(tmp_path)
    path = folder / "host-cpu.json"
    assert old in path.read_text()
    files.write_text(path, path.read_text().replace(old, new, 1))
    with pytest.raises(RecordError, match="is no Baseline record of schema 1"):
        baselines.read(folder, measurement)
