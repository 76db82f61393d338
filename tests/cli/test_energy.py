"""``edgekd profile --energy``, with the stand-in for tegrastats on the PATH."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgekd.core import records
from tests import nets
from tests.cli.conftest import Command
from tests.standins import power


def model(folder: Path) -> Path:
    return nets.linear(folder / "net.onnx", np.eye(4), (1, 2, 2))


def test_energy_is_printed_with_its_scope_and_idle_power(
    edgekd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path)
    status, out, err = edgekd(
        "profile", model(tmp_path), "--blocks", 6, "--runs", 5, "--energy", "--out", tmp_path / "p"
    )
    assert status == 0 or "inconclusive: " in err  # the latency, on a busy machine
    assert "no energy" not in err
    assert " mJ [" in out
    assert "energy of the module (VDD_IN) by tegrastats, a reading every" in out


def test_without_a_result_status_is_3_and_the_latency_is_printed(
    edgekd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path, "bare")
    status, out, err = edgekd(
        "profile", model(tmp_path), "--blocks", 6, "--runs", 5, "--energy", "--json",
        "--out", tmp_path / "p",
    )  # fmt: skip
    assert status == 3
    assert "no energy: tegrastats told no power" in err
    assert json.loads(out)["timings"][0]["p50_ms"]["value"] > 0
    kept = records.read(records.Measurement, tmp_path / "p" / "measurement.json")
    assert kept.energy is not None
    assert kept.energy.missing is not None


def test_a_missing_energy_does_not_hide_that_the_latency_is_doubtful(
    edgekd: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power.install(monkeypatch, tmp_path, "bare")
    many = len(os.sched_getaffinity(0)) + 1
    status, _, err = edgekd(
        "profile", model(tmp_path), "--blocks", 6, "--runs", 5, "--threads", many, "--energy",
        "--out", tmp_path / "p",
    )  # fmt: skip
    assert status == 3
    assert f"{many} threads share" in err
    assert "no energy: tegrastats told no power" in err
