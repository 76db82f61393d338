import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.remote import checkup, inventory, lines
from tests.cli.conftest import Command
from tests.remote import sshd
from tests.standins import power


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", "doctor", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_torch_that_cannot_be_imported_is_told(
    edgekd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    status, out, _ = edgekd("doctor")
    assert status == 0
    assert "torch is installed, but cannot be imported" in out


def test_a_board_that_is_not_in_the_inventory_is_the_users_mistake(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text('[line-3]\nprofile = "orin-nano-8gb"\nhost = "192.0.2.17"\n')
    done = doctor("--device", "line-2", "--inventory", str(file))
    assert done.returncode == 2
    assert "no device is called 'line-2'. Did you mean 'line-3'?" in done.stderr


def test_a_board_that_cannot_be_reached_ends_with_status_4(tmp_path: Path) -> None:
    (port,) = sshd.free_ports(1)
    file = tmp_path / "fleet.toml"
    file.write_text(f'[bench]\nprofile = "host-cpu"\nhost = "127.0.0.1"\nport = {port}\n')
    done = doctor("--device", "bench", "--inventory", str(file))
    assert done.returncode == 4
    assert done.stdout == ""
    assert "'bench' (127.0.0.1) cannot be reached: nothing listens" in done.stderr


@pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)
def test_a_board_tells_over_ssh_what_it_has(tmp_path: Path) -> None:
    with sshd.serving(tmp_path, sys.executable) as server:
        file = server.inventory("bench")
        done = doctor("--device", "bench", "--inventory", str(file), "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["kind"]["summary"] == "host-cpu"
    assert rows["onnxruntime"]["state"] == "ok"


def test_a_board_that_lacks_what_measuring_needs_ends_with_status_4(
    edgekd: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkup.ask

    def poor(place: inventory.Place) -> lines.Probe:
        return real(place).model_copy(update={"engines": {}, "numpy": None, "power": None})

    monkeypatch.setattr(checkup, "ask", poor)
    status, out, err = edgekd("doctor", "--device", "host-cpu")
    assert status == 4
    assert "python3-numpy" in out
    assert "'host-cpu' lacks what measuring needs: numpy, onnxruntime\n" in err


@pytest.mark.parametrize("where", [("--no-gpu",), ("--device", "host-cpu")])
def test_the_source_of_power_is_told_here_and_through_the_agent(
    where: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path)
    rows = {row["name"]: row for row in json.loads(doctor(*where, "--json").stdout)}
    assert rows["power sensor"]["summary"] == "tegrastats"
