"""Evaluate and measure on a board of the inventory: here, this machine behind a real sshd."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import files, specs
from edgekd.core.errors import UsageError
from edgekd.core.progress import Silent
from edgekd.core.records import Normalisation
from edgekd.core.run_folder import Run
from edgekd.data.images import checked_pixels, image_set
from edgekd.evaluate import accuracy
from edgekd.pipeline import measure, profile
from edgekd.pipeline import run as job
from edgekd.profile import local
from tests import nets
from tests.remote import errands, sshd
from tests.standins import power

from .conftest import SMALL

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd"), sys.executable) as running:
        yield running


@pytest.fixture(autouse=True)
def _bench(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKD_INVENTORY", str(server.inventory("bench")))


def test_logits_of_a_board_are_those_of_this_machine(server: sshd.Server, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 2, 2, 1), dtype=np.uint8)
    images = image_set(checked_pixels(pixels, "test"), [0] * 70, list("abcd"), "test")
    model = nets.linear(tmp_path / "net.onnx", np.arange(16).reshape(4, 4), (1, 2, 2))
    plain = Normalisation(mean=(0.5,), std=(0.25,))
    np.testing.assert_array_equal(
        accuracy.logits_of(model, images, plain, device="bench"),
        accuracy.logits_of(model, images, plain),
    )
    assert server.emptied()


def test_models_are_measured_on_a_board(
    server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    subjects = []
    for name in ("teacher", "student"):  # both files have one name, in folders of their own
        (tmp_path / name).mkdir()
        model = nets.linear(tmp_path / name / "model.onnx", np.eye(4), (1, 2, 2))
        subjects.append(local.Subject(name, model, files.sha256_of(model)))
    spec = specs.Profile(blocks=6, runs=5, device="bench")
    record = local.measure(subjects, spec, np.ones((1, 1, 2, 2), np.float32), tmp_path / "out")
    assert record.device == "bench"
    assert [timing.subject for timing in record.timings] == ["teacher", "student"]
    assert server.emptied()


def test_a_run_measures_latency_and_energy_on_a_board(
    finished: Run, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.hasten(monkeypatch, settle_s=0.3)
    line = f'export PATH={power.tools(tmp_path)}:$PATH\nexec {sys.executable} "$@"'
    fleet = server.folder / "devices.toml"
    python = json.dumps(errands.script(tmp_path, line))
    fleet.write_text(fleet.read_text().replace(json.dumps(server.python), python))
    shutil.copytree(finished.folder, tmp_path / "run")
    recipe = specs.load("digits", [*SMALL, "profile.device='bench'", "profile.energy=true"])
    found = job.run(recipe, tmp_path / "run", name="digits", resume=True).measurement
    assert found is not None
    assert (found.device, len(found.timings)) == ("bench", 2)
    assert found.energy is not None
    assert (found.energy.rails, found.energy.scope) == (("VDD_IN",), "module")
    for timing in found.timings:
        assert timing.energy is not None
        assert timing.energy.per_image_mj.value > 0
    assert errands.gone(server)


def test_a_checkpoint_does_not_run_on_a_board(tmp_path: Path) -> None:
    options = measure.Options(device="bench")
    with pytest.raises(UsageError, match="edgekd export"):
        measure.evaluate("student", "digits", "test", None, options=options, progress=Silent())


def test_an_inventory_that_is_named_is_the_one_that_is_read(
    server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEKD_INVENTORY")
    monkeypatch.setattr(local, "WARM_UP_S", (0.0, 0.05))
    model = nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))
    spec = specs.Profile(blocks=6, runs=5, device="bench")
    fleet = server.folder / "devices.toml"
    found = profile.profile(model, None, spec, tmp_path / "out", progress=Silent(), fleet=fleet)
    assert found.measurement.device == "bench"


def test_a_kind_without_a_way_out_takes_no_models(tmp_path: Path, server: sshd.Server) -> None:
    file = server.folder / "devices.toml"
    file.write_text(file.read_text().replace('"host-cpu"', '"nano"'))
    images = image_set(
        checked_pixels(np.zeros((1, 2, 2, 1), np.uint8), "test"), [0], ["a", "b"], "test"
    )
    plain = Normalisation(mean=(0.0,), std=(1.0,))
    with pytest.raises(UsageError, match=r"'bench' \(nano\) takes no models: .* use an Orin"):
        accuracy.logits_of(tmp_path / "net.onnx", images, plain, device="bench")
