"""``edgekd profile --energy`` on a board behind a real sshd, where a tegrastats is on the PATH."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import records
from edgekd.profile import sampling
from tests import nets
from tests.cli.conftest import Command
from tests.remote import errands, sshd
from tests.standins import power

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[sshd.Server]:
    (tmp_path / "bench").mkdir()
    with sshd.serving(tmp_path / "bench", sys.executable) as running:
        yield running


def inventory(server: sshd.Server, folder: Path, fault: str = "") -> Path:
    """Write an inventory with a board "bench" whose Python finds a tegrastats."""
    line = f'export PATH={power.tools(folder, fault)}:$PATH\nexec {sys.executable} "$@"'
    python = errands.script(folder, line)
    file = server.inventory("bench")
    file.write_text(file.read_text().replace(json.dumps(server.python), json.dumps(python)))
    return file


def words(fleet: Path, folder: Path) -> list[object]:
    model = nets.linear(folder / "net.onnx", np.eye(4), (1, 2, 2))
    return [
        "profile", model, "--device", "bench", "--inventory", fleet, "--blocks", 6, "--runs", 5,
        "--energy", "--out", folder / "out",
    ]  # fmt: skip


def test_the_energy_of_a_board_is_measured_beside_its_latency(
    server: sshd.Server, edgekd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.hasten(monkeypatch, settle_s=0.3)
    status, out, err = edgekd(*words(inventory(server, tmp_path), tmp_path))
    assert status == 0 or "inconclusive: " in err  # as busy as this machine may be
    assert "no energy" not in err
    assert " mJ [" in out
    assert "energy of the module (VDD_IN) by tegrastats, a reading every" in out
    found = records.read(records.Measurement, tmp_path / "out" / "measurement.json")
    assert found.device == "bench"
    assert found.energy is not None
    assert (found.energy.rails, found.energy.scope) == (("VDD_IN",), "module")
    (timing,) = found.timings
    assert timing.energy is not None
    used = timing.energy.per_image_mj
    assert 0 < used.low <= used.value <= used.high
    assert used.value < timing.energy.gross_per_image_mj
    assert found.energy.idle_mw is not None
    assert max(found.energy.idle_mw) < timing.energy.power_mw <= 10_000  # the stand-in's most
    assert errands.gone(server)


def test_a_sensor_that_falls_silent_on_a_board_spoils_its_energy_alone(
    server: sshd.Server, edgekd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.hasten(monkeypatch, "silent")
    monkeypatch.setattr(sampling, "RUN_S", 0.5)  # longer than the stand-in speaks
    given = words(inventory(server, tmp_path, "silent"), tmp_path)
    status, out, err = edgekd(*given, "--json")
    assert status == 3
    assert "no energy: tegrastats fell silent for" in err
    told = json.loads(out)
    assert told["timings"][0]["p50_ms"]["value"] > 0
    assert told["timings"][0]["energy"] is None
    assert errands.gone(server)


def test_the_doctor_names_the_sensor_of_a_board(
    server: sshd.Server, edgekd: Command, tmp_path: Path
) -> None:
    fleet = inventory(server, tmp_path)
    status, out, _ = edgekd("doctor", "--device", "bench", "--inventory", fleet, "--json")
    assert status == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert (rows["power sensor"]["state"], rows["power sensor"]["summary"]) == ("ok", "tegrastats")
