import json
from pathlib import Path

import numpy as np
import pytest

from tests import nets
from tests.cli.conftest import Command


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKD_INVENTORY", str(tmp_path / "none.toml"))
    return nets.linear(tmp_path / "net.onnx", np.eye(4), (1, 2, 2))


def test_a_kind_of_board_gets_an_estimate_that_is_called_one(
    edgekd: Command, model: Path, tmp_path: Path
) -> None:
    arguments = ("profile", model, "--device", "orin-nano-8gb", "--out", tmp_path / "out")
    status, out, _ = edgekd(*arguments)
    assert status == 0
    assert "estimate of p50: " in out
    assert "not measured" in out
    status, out, _ = edgekd(*arguments, "--json")
    record = json.loads(out)
    assert (status, record["kind"]) == (0, "estimate")
    assert record == json.loads((tmp_path / "out" / "estimate.json").read_text())


def test_several_devices_make_a_table_and_the_worst_makes_the_status(
    edgekd: Command, model: Path, tmp_path: Path
) -> None:
    status, out, _ = edgekd(
        "profile", model, "--device", "nano", "--device", "orin-nano-8gb", "--precision", "int8",
        "--batch", 1, "--batch", 8, "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2
    rows = out.splitlines()
    assert len(rows) == 4
    assert "'nano' has no INT8" in rows[0]
    assert "estimate" in rows[3]
    assert "batch 8" in rows[3]


def test_a_label_that_nobody_has_is_a_mistake(edgekd: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text('[a]\nprofile = "tx2"\nhost = "h"\nlabels = ["lab"]\n')
    status, _, err = edgekd("profile", model, "--device", "label:lap", "--out", tmp_path / "out")
    assert status == 2
    assert "Did you mean 'lab'?" in err
