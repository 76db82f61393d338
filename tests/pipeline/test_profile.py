"""Profile on a board with TensorRT, on stand-ins: the way there and back, not its speed."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.core import files, records, specs
from edgekd.core.errors import EnvironmentMissingError, ExportError, UsageError
from edgekd.core.progress import Silent
from edgekd.export.formats import tensorrt
from edgekd.pipeline import engines, profile
from edgekd.profile import local
from edgekd.remote import inventory, session
from tests import nets
from tests.pipeline import board
from tests.remote import sshd


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    monkeypatch.setattr(local, "GPU_WARM_UP_S", (0.0, 0.05))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return board.here(tmp_path, monkeypatch, "10.3.0")


def net(folder: Path, name: str = "net.onnx", batch: int | None = 1) -> Path:
    weights_kf = np.random.default_rng(len(name)).standard_normal((10, 64))
    return nets.linear(folder / name, weights_kf, (1, 8, 8), batch)


def noted(path: Path) -> Path:
    """Note in a file how its images are prepared, as edgekd's own files do."""
    model = onnx.load(path)
    notes = {
        "edgekd": "1",
        "preprocessing": json.dumps({"mean": [0.5], "std": [0.25]}),
        "classes": json.dumps([str(digit) for digit in range(10)]),
        "edgekd.checkpoint_sha256": "0" * 64,
    }
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def spec(device: str, **values: object) -> specs.Profile:
    return specs.Profile.model_validate({"device": device, "blocks": 6, "runs": 5, **values})


def test_engines_are_built_on_the_board_and_measured_with_their_onnx_file_as_the_product(
    gpu: str, tmp_path: Path
) -> None:
    student, teacher = net(tmp_path), net(tmp_path, "teacher.onnx")
    found = profile.profile(
        student, teacher, spec(gpu, builds=2), tmp_path / "out", progress=Silent(), layers=True
    )
    record = found.measurement
    first, second = record.timings
    assert record.engine.startswith("tensorrt 10.3.0")
    assert (first.subject, second.subject) == (str(teacher), str(student))
    assert record.parents == (first.sha256, second.sha256)
    assert second.sha256 == files.sha256_of(student)
    assert len(second.builds) == 2
    assert second.p50_ms == max((b.p50_ms for b in second.builds), key=lambda p50: p50.value)
    assert first.p50_ms == min((b.p50_ms for b in first.builds), key=lambda p50: p50.value)
    assert second.gpu_p50_ms is not None
    assert {row.precision for row in found.layers} == {"fp32"}  # by the inspector


def test_what_an_engine_holds_on_the_gpu_is_in_its_record_and_in_its_peak(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_DISCRETE", "1")
    found = profile.profile(net(tmp_path), None, spec(gpu), tmp_path / "out", progress=Silent())
    (timing,) = found.measurement.timings
    assert timing.device_memory_mib == 4 * (64 + 10) / 2**20  # the stand-in's: pixels and logits
    assert timing.context_memory_mib is not None
    assert timing.peak_memory_mib > timing.device_memory_mib


def test_the_images_of_a_source_are_classified_by_the_engines(gpu: str, tmp_path: Path) -> None:
    models = [noted(net(tmp_path, name)) for name in ("teacher.onnx", "net.onnx")]
    out = tmp_path / "out.json"
    found = profile.profile(
        models[1], models[0], spec(gpu), out, progress=Silent(), source="digits"
    )
    assert [each.subject for each in found.accuracies] == [str(path) for path in models]
    assert {each.device for each in found.accuracies} == {gpu}
    top1 = [each.top1_percent.value for each in found.accuracies]
    assert found.drop_pp is not None
    assert found.drop_pp.value == pytest.approx(top1[0] - top1[1])
    assert (tmp_path / "out.accuracy-reference.json").is_file()


@pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)
def test_engines_are_built_measured_and_judged_over_ssh(tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    models = [noted(net(tmp_path, name)) for name in ("teacher.onnx", "net.onnx")]
    with sshd.serving(tmp_path / "sshd", sys.executable) as server:
        fleet = board.away(tmp_path, server, "10.3.0")
        found = profile.profile(
            models[1],
            models[0],
            spec("bench"),
            tmp_path / "out.json",
            progress=Silent(),
            fleet=fleet,
            source="digits",
        )
        assert server.emptied()
    assert found.measurement.device == "bench"
    assert found.measurement.engine.startswith("tensorrt 10.3.0")
    assert [len(timing.builds) for timing in found.measurement.timings] == [1, 1]
    assert found.drop_pp is not None


def test_an_engine_is_built_once_and_again_when_it_was_damaged(gpu: str, tmp_path: Path) -> None:
    place, model = inventory.usable(gpu), net(tmp_path)
    (plan,) = engines.built(model, place, 1, 1, Silent())
    made = plan.stat().st_mtime_ns
    assert engines.built(model, place, 1, 1, Silent()) == (plan,)
    assert plan.stat().st_mtime_ns == made
    plan.write_bytes(plan.read_bytes() + b"x")
    engines.built(model, place, 1, 1, Silent())
    assert tensorrt.verify(plan, model).plan_bytes == plan.stat().st_size
    assert plan.stat().st_mode & 0o077 == 0


def test_a_free_batch_is_built_for_the_batch_that_is_measured(gpu: str, tmp_path: Path) -> None:
    place, model = inventory.usable(gpu), net(tmp_path, batch=None)
    (two,) = engines.built(model, place, 2, 1, Silent())
    (three,) = engines.built(model, place, 3, 1, Silent())
    assert two != three
    profiles = tensorrt.verify(two, model).asked.profiles
    assert profiles is not None
    assert profiles["images"].opt == (2, 1, 8, 8)


def test_streams_have_engines_of_their_own(gpu: str, tmp_path: Path) -> None:
    asked = spec(gpu, scenario="multi", streams=2)
    record = profile.profile(net(tmp_path), None, asked, tmp_path / "o", progress=Silent())
    assert record.measurement.timings[0].runs == 6 * 5 * 2
    assert record.measurement.timings[0].gpu_p50_ms is None


def test_a_measurement_is_taken_twice_to_confirm_it(tmp_path: Path) -> None:
    asked = spec("host-cpu", confirm=True)
    record = profile.profile(net(tmp_path), None, asked, tmp_path / "o.json", progress=Silent())
    assert record.measurement.confirmed is not None
    assert records.read(records.Measurement, tmp_path / "o.json") == record.measurement


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"builds": 2}, "--builds is for ONNX files on a board with TensorRT"),
        ({"batch": 2}, "takes 1 images at a time, but --batch is 2"),
    ],
)
def test_what_the_device_cannot_do_is_refused_first(
    tmp_path: Path, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        profile.profile(
            net(tmp_path), None, spec("host-cpu", **asked), tmp_path / "o", progress=Silent()
        )
    assert not (tmp_path / "o").exists()


def test_a_record_that_cannot_be_written_is_told_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "local_command", lambda: ["false"])  # measuring would fail
    (tmp_path / "out.json").mkdir()
    with pytest.raises(EnvironmentMissingError, match=r"out\.json' cannot be written") as caught:
        profile.profile(
            net(tmp_path), None, spec("host-cpu"), tmp_path / "out.json", progress=Silent()
        )
    assert caught.value.exit_status == 4


def test_images_need_to_know_how_they_are_prepared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say how its images are to be normalised"):
        profile.profile(
            net(tmp_path),
            None,
            spec("host-cpu"),
            tmp_path / "o",
            progress=Silent(),
            source="digits",
        )


def test_models_of_two_sizes_do_not_take_turns(tmp_path: Path) -> None:
    other = nets.linear(tmp_path / "other.onnx", np.eye(4), (1, 2, 2), 1)
    with pytest.raises(UsageError, match="inputs of one shape"):
        profile.profile(net(tmp_path), other, spec("host-cpu"), tmp_path / "o", progress=Silent())


def test_a_file_in_an_opset_that_the_board_does_not_read_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = inventory.usable(board.installed(tmp_path, monkeypatch, "8.6.1"))
    model = net(tmp_path)
    newer = onnx.load(model)
    newer.opset_import[0].version = 18
    onnx.save(newer, model)
    with pytest.raises(
        ExportError, match=r"net.onnx' is written in opset 18, .* --platform jp6\.0"
    ):
        engines.built(model, place, 1, 1, Silent())
