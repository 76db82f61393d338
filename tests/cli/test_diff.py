"""``edgekd diff`` on real exports and a real checkpoint."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from edgekd.models import checkpoint
from edgekd.pipeline import single
from tests import nets
from tests.cli.conftest import Command


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint, its export, and the export with one other weight."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("diff")
    model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
    checkpoint.save(folder / "net", model.module, model.record, model.surgery)
    single.export(
        single.ModelArguments(str(folder / "net")), "onnx-fp32", folder / "fp32",
        source="digits", calibrator="minmax", images=1, seed=0,
    )  # fmt: skip
    right = folder / "fp32" / "model.onnx"
    wrong = onnx.load(str(right))
    tensor = next(one for one in wrong.graph.initializer if one.name == "layer2.0.conv1.weight")
    weight = numpy_helper.to_array(tensor) + np.float32(0.1)
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    onnx.save(wrong, str(folder / "wrong.onnx"))
    return {"checkpoint": folder / "net", "right": right, "wrong": folder / "wrong.onnx"}


def test_diff_names_the_layer_in_a_table_and_a_sentence_with_status_1(
    edgekd: Command,
    files: dict[str, Path],
) -> None:
    status, out, err = edgekd("diff", files["right"], files["wrong"], "--data", "digits")
    assert status == 1
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "layer"
    row = next(line.split() for line in lines if line.startswith("layer2.0.conv1 "))
    assert lines[-1] == f"first differs: layer2.0.conv1 (relative error {row[2]}, limit 0.05)"
    assert "of 26 layers measured" in err


def test_diff_of_a_checkpoint_and_its_export_finds_nothing(
    edgekd: Command,
    files: dict[str, Path],
) -> None:
    status, out, _ = edgekd(
        "diff", files["checkpoint"], files["right"], "--data", "digits", "--tolerance", 1e-6,
        "--images", 4,
    )  # fmt: skip
    assert status == 0
    assert out.splitlines()[-1] == "nothing differs: 16 of 26 layers measured, limit 1e-06"


def test_diff_prints_all_layers_as_json(
    edgekd: Command,
    files: dict[str, Path],
) -> None:
    status, out, _ = edgekd(
        "diff", files["right"], files["wrong"], "--data", "digits", "--all", "--json",
        "--images", 4,
    )  # fmt: skip
    assert status == 1
    found = json.loads(out)
    assert found["tolerance"] == 0.05
    assert found["common"] == len(found["measured"]) == 26
    assert found["first"] == next(row for row in found["measured"] if row["relative_error"] > 0.05)
    assert found["first"]["layer"] == "layer2.0.conv1"


def test_diff_writes_null_for_what_is_not_finite(
    edgekd: Command,
    tmp_path: Path,
) -> None:
    one = nets.linear(tmp_path / "one.onnx", np.ones((2, 64)), (1, 8, 8))
    other = nets.linear(tmp_path / "other.onnx", np.full((2, 64), np.inf), (1, 8, 8))
    status, out, _ = edgekd(
        "diff", one, other, "--data", "digits", "--json", "--mean", 0, "--std", 1
    )
    assert status == 1
    assert json.loads(out)["first"]["relative_error"] is None


def test_diff_refuses_what_it_cannot_compare(
    edgekd: Command,
    files: dict[str, Path],
    tmp_path: Path,
) -> None:
    (tmp_path / "net.pth").touch()
    plain = nets.linear(tmp_path / "plain.onnx", np.ones((2, 64)), (1, 8, 8))
    small = nets.linear(tmp_path / "small.onnx", np.ones((2, 16)), (1, 4, 4))
    cases = [
        ([files["right"], tmp_path / "net.pth"], "no .onnx file and no checkpoint folder"),
        ([tmp_path / "none.onnx", files["right"]], "there is no file"),
        ([small, plain], "takes images of [1, 4, 4], "),
        ([small, small, "--mean", 0, "--std", 1], "'digits' has [8, 8, 1]"),
        ([plain, plain], "says how its images are to be normalised: give --mean and --std"),
        ([plain, plain, "--mean", 0], "--mean and --std go together"),
        ([plain, plain, "--tolerance", "inf"], "--tolerance is inf"),
    ]
    for arguments, message in cases:
        status, _, err = edgekd("diff", *arguments, "--data", "digits")
        assert (status, message in err) == (2, True), err
