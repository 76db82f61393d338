import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import files, records, specs, statistics
from edgekd.core.errors import DeviceError, RecordError, UsageError
from edgekd.profile import local
from edgekd.profile.local import Subject
from edgekd.remote import session
from tests import nets

IMAGES = np.ones((1, 1, 2, 2), np.float32)
SPEC = specs.Profile(blocks=6, runs=5)


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))


def subject(folder: Path, name: str) -> Subject:
    path = nets.linear(folder / f"{name}.onnx", np.eye(4), (1, 2, 2))
    return Subject(name, path, files.sha256_of(path))


class Listener:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0

    @contextmanager
    def task(self, title: str, total: int) -> Iterator["Listener"]:
        del title
        self.total = total
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        del note
        self.done += amount


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Listener]:
    folder = tmp_path_factory.mktemp("measured")
    listener = Listener()
    subjects = [subject(folder, name) for name in ("teacher", "student", "other")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "WARM_UP_S", (0.0, 0.05))
        local.measure(subjects, specs.Profile(blocks=6, runs=50), IMAGES, folder / "out", listener)
    return folder / "out", listener


@pytest.fixture
def record(measured: tuple[Path, Listener]) -> records.Measurement:
    return records.read(records.Measurement, measured[0] / "measurement.json")


def test_the_record_names_every_model_in_the_order_given(record: records.Measurement) -> None:
    assert [timing.subject for timing in record.timings] == ["teacher", "student", "other"]
    assert record.parents == tuple(timing.sha256 for timing in record.timings)
    assert record.engine.startswith("onnxruntime ")
    assert (record.device, record.batch, record.threads) == ("host-cpu", 1, 1)


def test_samples_are_kept_as_blocks_by_runs_in_ms(
    measured: tuple[Path, Listener], record: records.Measurement
) -> None:
    file = measured[0] / record.samples_file
    records.check_file(file, record.samples_sha256)
    with np.load(file, allow_pickle=False) as arrays:
        assert list(arrays) == ["teacher", "student", "other"]
        for name in arrays:
            assert arrays[name].shape == (6, 50)
            assert arrays[name].min() > 0


def test_statistics_are_those_of_the_samples(
    measured: tuple[Path, Listener], record: records.Measurement
) -> None:
    with np.load(measured[0] / record.samples_file, allow_pickle=False) as arrays:
        first, second = arrays["teacher"], arrays["student"]
    timing = record.timings[1]
    assert timing.runs == 300
    assert timing.p50_ms == statistics.quantile_interval(second.ravel(), 0.5, 0.95)
    assert timing.p90_ms == statistics.quantile_interval(second.ravel(), 0.9, 0.95)
    assert timing.p99_ms == statistics.quantile_interval(second.ravel(), 0.99, 0.95)
    assert timing.p99_ms is not None  # 300 samples are just enough
    assert timing.ratio_to_first is not None
    # Not the inverse: the first is the denominator.
    assert timing.ratio_to_first.value == np.median(second) / np.median(first)
    assert record.timings[0].ratio_to_first is None


def test_opening_takes_time_and_memory(record: records.Measurement) -> None:
    for timing in record.timings:
        assert timing.load_ms > 0
        assert timing.cold_ms > 0
        assert timing.warm_up_s is not None
        assert timing.warm_up_s > 0
        assert 0.1 < timing.peak_memory_mib < 200


def test_progress_counts_every_warm_up_and_turn(measured: tuple[Path, Listener]) -> None:
    _, listener = measured
    assert listener.done == listener.total == 3 * (1 + 6)


def test_under_299_samples_there_is_no_p99(tmp_path: Path) -> None:
    spec = specs.Profile(blocks=149, runs=2)
    found = local.measure([subject(tmp_path, "net")], spec, IMAGES, tmp_path / "out")
    assert found.timings[0].runs == 298
    assert found.timings[0].p99_ms is None


def test_the_fewest_samples_that_a_spec_allows_give_a_p90(tmp_path: Path) -> None:
    spec = specs.Profile(blocks=statistics.fewest_samples(0.9), runs=1)
    found = local.measure([subject(tmp_path, "net")], spec, IMAGES, tmp_path / "out")
    assert found.timings[0].p90_ms.high >= found.timings[0].p50_ms.value


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no device is called 'orin-nano'"):
        local.measure([], specs.Profile(device="orin-nano"), IMAGES, tmp_path)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    changed = subject(tmp_path, "net")
    changed.path.write_bytes(changed.path.read_bytes() + b"x")
    with pytest.raises(RecordError, match="was changed"):
        local.measure([changed], SPEC, IMAGES, tmp_path / "out")


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "torn.onnx"
    path.write_bytes(b"torn")
    torn = Subject("torn", path, files.sha256_of(path))
    with pytest.raises(RecordError, match=r"torn\.onnx' cannot be opened"):
        local.measure([subject(tmp_path, "net"), torn], SPEC, IMAGES, tmp_path / "out")
    assert not (tmp_path / "out" / "measurement.json").exists()


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    same = subject(tmp_path, "net")
    with pytest.raises(UsageError, match="against itself"):
        local.measure([same, same], SPEC, IMAGES, tmp_path / "out")


def test_images_of_another_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the batch is 2"):
        local.measure(
            [subject(tmp_path, "net")],
            specs.Profile(blocks=6, runs=5, batch=2),
            IMAGES,
            tmp_path / "out",
        )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"type": "block", "subject": 0, "block": 0, "samples_ns": [1, 2], "wall_ns": 3},
         "6 blocks of 5 runs"),
        ({"type": "probe", "machine": "m", "architecture": "a", "flags": [], "cores": 1,
          "memory_mib": 1, "os": "o", "python": "3", "numpy": None, "engines": {}}, "no part of"),
    ],
    ids=["too few samples", "a line of another verb"],
)  # fmt: skip
def test_an_agent_that_sends_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], words: str
) -> None:
    said = [json.dumps({"schema_version": 1, **line}) for line in (wrong, {"type": "done"})]
    script = f"print({said[0]!r}); print({said[1]!r})"
    monkeypatch.setattr(session, "local_command", lambda: [sys.executable, "-S", "-c", script])
    with pytest.raises(DeviceError, match=words):
        local.measure([subject(tmp_path, "net")], SPEC, IMAGES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_torch_is_not_imported() -> None:
    import subprocess

    script = (
        "import sys; import edgekd.profile.local, edgekd.evaluate.accuracy;"
        "sys.exit('torch' in sys.modules or 'onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_what_ran_when_is_recorded_between_two_readings_at_least(
    record: records.Measurement,
) -> None:
    series = record.series
    assert series is not None
    first = ["teacher", "student", "other", "student", "other", "teacher"]
    assert [turn.subject for turn in series.turns[:6]] == first
    ends = [end for turn in series.turns for end in (turn.start_s, turn.end_s)]
    assert ends == sorted(ends)
    assert 0 <= ends[0] < ends[-1] <= series.times_s[-1]
