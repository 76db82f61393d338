"""Tables of measured and estimated cells: this machine, a board that is off, kinds of board."""

import socket
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import records, specs
from edgekd.core.errors import InconclusiveError, RecordError, UsageError
from edgekd.core.estimate import Estimate
from edgekd.core.records import Measurement
from edgekd.pipeline import fleet
from edgekd.pipeline.fleet import Job
from edgekd.profile import doubts, kernels, local
from edgekd.profile import fleet as table
from edgekd.remote import session
from tests import nets

SPEC = specs.Profile(blocks=6, runs=5)


@pytest.fixture(autouse=True)
def _short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    monkeypatch.setattr(table, "PAUSES_S", ())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """An inventory with a board where nothing listens, and one that is an orin-nano-8gb."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "onnx.toml").write_text(
        'description = "a board"\nreach = "ssh"\nengine = "onnxruntime"\n'
    )
    file = tmp_path / "devices.toml"
    file.write_text(
        f'[off]\nprofile = "onnx.toml"\nhost = "127.0.0.1"\nport = {port}\nlabels = ["lab"]\n'
        '[line-3]\nprofile = "orin-nano-8gb"\nhost = "192.0.2.17"\n'
    )
    return file


def test_this_machine_a_board_that_is_off_and_an_estimate_stand_in_one_table(
    model: Path, inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "about", lambda _: [])  # however busy this machine may be
    job = Job((model,), ("host-cpu", "off", "nano"), (1, 2), SPEC, inventory=inventory)
    found = fleet.run(job, tmp_path / "out")
    states = [(row.device, row.batch, row.state) for row in found.rows]
    assert states == [
        ("host-cpu", 1, "measured"), ("host-cpu", 2, "measured"),
        ("off", 1, "failed"), ("off", 2, "failed"), ("nano", 1, "estimated"),
        ("nano", 2, "estimated"),
    ]  # fmt: skip
    here, guess = found.rows[0], found.rows[4]
    assert "nothing listens at its port" in found.rows[2].reason
    assert found.rows[2].exit_status == 4
    assert here.record is not None
    assert guess.record is not None
    measurement = records.read(Measurement, tmp_path / "out" / here.record)
    assert measurement.timings[0].p50_ms.value == here.p50_ms
    assert (guess.p50_ms, guess.precision) == (None, "fp32")
    assert records.read(Estimate, tmp_path / "out" / guess.record).p50_ms.low == guess.low_ms

    # Nothing is measured twice: with no agent to be had, only the broken board is asked again.
    monkeypatch.setattr(session, "local_command", lambda: ["false"])
    again = fleet.run(job, tmp_path / "out", resume=True)
    assert [row.resumed for row in again.rows] == [True, True, False, False, True, True]


def test_another_model_behind_the_same_name_is_measured_anew(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    job = Job((model,), ("nano", "tx2"), inventory=inventory)
    first = fleet.run(job, tmp_path / "out")
    nets.linear(model, 2 * np.eye(4), (1, 2, 2))
    again = fleet.run(job, tmp_path / "out", resume=True)
    assert not any(row.resumed for row in again.rows)
    assert again.rows[0].key != first.rows[0].key


def test_a_board_at_another_address_is_measured_anew(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    job = Job((model,), ("off", "nano"), inventory=inventory)
    first, guess = fleet.run(job, tmp_path / "out").rows
    inventory.write_text(inventory.read_text().replace('"127.0.0.1"', '"localhost"'))
    again, same = fleet.run(job, tmp_path / "out", resume=True).rows
    assert again.key != first.key
    assert same.key == guess.key


def test_a_measurement_stands_whatever_is_odd_in_its_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: Path, batch: int) -> list[kernels.Kernel]:
        raise KeyError(path, batch)

    monkeypatch.setattr(kernels, "read", fail)
    row = fleet.run(Job((model,), ("host-cpu",), (1, 2), SPEC), tmp_path / "out").rows[0]
    assert row.state in {"measured", "inconclusive"}
    assert (row.p50_ms is not None, row.precision) == (True, None)
    assert "the precision of" in caplog.text


def test_cells_named_in_another_order_are_not_done_again(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    names, batches = ("nano", "tx2"), (1, 4)
    fleet.run(Job((model,), names, batches, SPEC, inventory=inventory), tmp_path / "out")
    other = SPEC.model_copy(update={"device": "tx2", "batch": 4})  # as the command line has it
    turned = Job((model,), names[::-1], batches[::-1], other, inventory=inventory)
    rows = fleet.run(turned, tmp_path / "out", resume=True).rows
    assert [row.device for row in rows] == ["tx2", "tx2", "nano", "nano"]
    assert all(row.resumed for row in rows)


def test_int8_fails_on_boards_without_it_and_is_estimated_on_others(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    job = Job((model,), ("nano", "orin-nano-8gb"), precisions=("int8",), inventory=inventory)
    rows = fleet.run(job, tmp_path / "out").rows
    assert [(row.state, row.precision) for row in rows] == [
        ("failed", "int8"),
        ("estimated", "int8"),
    ]
    assert "'nano' has no INT8" in rows[0].reason


def measured(
    model: Path,
    folder: Path,
    device: str,
    p50_ms: float,
    mode: str | None = "MAXN_SUPER",
    warnings: tuple[str, ...] = (),
) -> Path:
    """Write a measurement as if it were made on a device: the real one, with other numbers."""
    job = Job((model,), ("host-cpu", "nano"), (1,), SPEC)
    row = fleet.run(job, folder / "real").rows[0]
    record = records.read(Measurement, folder / "real" / str(row.record))
    p50 = record.timings[0].p50_ms.model_copy(
        update=dict.fromkeys(("low", "value", "high"), p50_ms)
    )
    timing = record.timings[0].model_copy(update={"p50_ms": p50})
    changes = {
        "device": device, "timings": (timing,), "power_mode": mode, "warnings": warnings,
    }  # fmt: skip
    records.write(record.model_copy(update=changes), folder / "measurement.json")
    return folder


def test_a_measurement_on_such_a_board_moves_the_estimate(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    past = measured(model, tmp_path / "past", "line-3", p50_ms=5.0)
    job = Job((model,), ("orin-nano-8gb",), inventory=inventory, calibrate=(past,))
    found = fleet.estimate_one(job, tmp_path / "guess.json")
    assert found == records.read(Estimate, tmp_path / "guess.json")
    # The very model that was measured: the middle of its range is now what was measured.
    assert np.sqrt(found.p50_ms.low * found.p50_ms.high) == pytest.approx(5.0)
    assert found.calibration is not None
    assert found.calibration.error_ratio is None


def test_a_measurement_on_another_kind_of_board_is_refused(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    past = measured(model, tmp_path / "past", "line-3", p50_ms=5.0)
    job = Job((model,), ("nano",), inventory=inventory, calibrate=(past,))
    with pytest.raises(UsageError, match="none of the measurements given is from a 'nano'"):
        fleet.estimate_one(job, tmp_path / "out")


def test_a_measurement_that_was_disturbed_is_refused(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    past = measured(model, tmp_path / "past", "line-3", p50_ms=5.0, warnings=("it was hot",))
    job = Job((model,), ("orin-nano-8gb",), inventory=inventory, calibrate=(past,))
    with pytest.raises(InconclusiveError, match=r"inconclusive: it was hot\. Measure it again"):
        fleet.estimate_one(job, tmp_path / "out")


@pytest.mark.parametrize("mode", ["15W", None])
def test_a_measurement_in_another_power_mode_is_refused(
    model: Path, inventory: Path, tmp_path: Path, mode: str | None
) -> None:
    past = measured(model, tmp_path / "past", "line-3", p50_ms=5.0, mode=mode)
    job = Job((model,), ("orin-nano-8gb",), inventory=inventory, calibrate=(past,))
    with pytest.raises(UsageError, match=f"in mode MAXN_SUPER: .* in mode {mode or 'that it'}"):
        fleet.estimate_one(job, tmp_path / "out")


def test_only_measurements_in_the_mode_that_is_asked_for_calibrate(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    slow = measured(model, tmp_path / "slow", "line-3", p50_ms=8.0, mode="15W")
    quick = measured(model, tmp_path / "quick", "line-3", p50_ms=5.0)
    for mode, p50_ms in (("15W", 8.0), ("MAXN_SUPER", 5.0)):
        job = Job(
            (model,), ("orin-nano-8gb",), inventory=inventory, calibrate=(slow, quick),
            power_mode=mode,
        )  # fmt: skip
        found = fleet.estimate_one(job, tmp_path / f"{mode}.json")
        assert found.calibration is not None
        assert found.calibration.measurements == 1
        assert np.sqrt(found.p50_ms.low * found.p50_ms.high) == pytest.approx(p50_ms)


def test_calibration_needs_the_file_that_was_measured(
    model: Path, inventory: Path, tmp_path: Path
) -> None:
    past = measured(model, tmp_path / "past", "line-3", p50_ms=5.0)
    nets.linear(model, 2 * np.eye(4), (1, 2, 2))
    job = Job((model,), ("orin-nano-8gb",), inventory=inventory, calibrate=(past,))
    with pytest.raises(RecordError, match="whose ONNX file is not at"):
        fleet.estimate_one(job, tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"devices": ("host-cpu",), "precisions": ("int8",)}, "--precision is for estimates"),
        ({"devices": ("host-cpu",), "power_mode": "15W"}, "--power-mode is for estimates"),
        ({"against": Path("other.onnx")}, "no turns to take"),
        ({"source": "digits"}, "--data needs a device that can be reached, but 'nano' is a kind"),
        ({"spec": specs.Profile(energy=True)}, "--energy needs a device"),
        ({"spec": specs.Profile(confirm=True)}, "--confirm needs a device"),
        ({"spec": specs.Profile(scenario="multi", streams=2)}, "--streams needs a device"),
        ({"spec": specs.Profile(builds=3)}, "--builds needs a device"),
        ({"models": (Path("net.plan"),)}, "there is no file 'net.plan'"),
        ({"devices": ("nano", "nobody")}, "no device is called 'nobody'"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_runs(
    model: Path, inventory: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    given: dict[str, object] = {"models": (model,), "devices": ("nano",), "inventory": inventory}
    with pytest.raises(UsageError, match=words):
        fleet.run(Job(**(given | changes)), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_an_estimate_is_no_measurement(model: Path, inventory: Path, tmp_path: Path) -> None:
    fleet.estimate_one(Job((model,), ("nano",), inventory=inventory), tmp_path / "out")
    (tmp_path / "out" / "estimate.json").rename(tmp_path / "out" / "measurement.json")
    with pytest.raises(RecordError, match="is no Measurement record"):
        records.read(Measurement, tmp_path / "out" / "measurement.json")
