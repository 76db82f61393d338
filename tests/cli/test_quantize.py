"""``edgekd quantize``, and what the other commands make of its result; in this process."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgekd.core import records, specs
from edgekd.models import checkpoint
from edgekd.pipeline import single
from tests.cli.conftest import Command


def quantised(weights: Path, out: Path, weight_bits: int, activation_bits: int) -> Path:
    """Write a quantised checkpoint, as the command does."""
    spec = specs.Quantize(
        weights=weight_bits,
        activations=activation_bits,
        calibration_images=64,
        recalibrate_images=64,
    )
    model = single.ModelArguments("digits_resnet", weights)
    single.quantise(model, spec, "digits", out, seed=0)
    return out


@pytest.fixture(scope="module")
def low(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised(weights, tmp_path_factory.mktemp("low") / "w2a4", 2, 4)


@pytest.fixture(scope="module")
def high(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantised(weights, tmp_path_factory.mktemp("high") / "w8a8", 8, 8)


def test_a_quantised_checkpoint_is_written(edgekd: Command, weights: Path, tmp_path: Path) -> None:
    out_folder = tmp_path / "w4a4"
    status, out, _ = edgekd(
        "quantize", "digits_resnet", "--weights", weights, "--bits", "W4A4", "--data", "digits",
        "--keep", "layer2.*", "--rule", "faqd", "--out", out_folder, "--json",
    )  # fmt: skip
    assert status == 0
    record = records.read(records.Checkpoint, out_folder / "checkpoint.json")
    assert json.loads(out) == record.model_dump(mode="json")
    assert record.stage == "quantized"
    assert record.validation_top1_percent is not None
    layers = checkpoint.load(out_folder).quantisation.layers
    assert sorted(layers) == [
        "conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2", "linear",
    ]  # fmt: skip
    assert layers["layer1.0.conv1"].rule == "faqd"


def test_weights_alone_are_quantised_without_images(
    edgekd: Command, weights: Path, tmp_path: Path
) -> None:
    status, out, _ = edgekd(
        "quantize", "digits_resnet", "--weights", weights, "--classes", 10, "--bits", "W1A32",
        "--out", tmp_path / "w1",
    )  # fmt: skip
    assert status == 0
    assert "W1A32" in out
    before, after = load_file(weights), load_file(tmp_path / "w1" / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "W3A4"], "1, 2, 4, 8 or 32"),
        (["--bits", "W4A4"], "W4A32"),
        (["--bits", "W4A32", "--rule", "other"], "rule"),
        (["--bits", "W4A32", "--keep", "nothing"], "matches no"),
        (["--bits", "W32A32"], "fewer bits"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_written(
    edgekd: Command, weights: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, _, err = edgekd(
        "quantize", "digits_resnet", "--weights", weights, *arguments, "--out", tmp_path / "out"
    )
    assert status == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_few_bits_take_bn_statistics_anew_and_eight_do_not(
    weights: Path, low: Path, high: Path
) -> None:
    name = "layer1.0.bn1.running_var"
    before = load_file(weights)[name]
    assert not torch.equal(load_file(low / "model.safetensors")[name], before)
    assert torch.equal(load_file(high / "model.safetensors")[name], before)


def test_under_eight_bits_nothing_is_exported(edgekd: Command, low: Path, tmp_path: Path) -> None:
    status, _, err = edgekd(
        "export", low, "--target", "onnx-fp32", "--calibration", "digits", "--out", tmp_path / "out"
    )
    assert status == 5
    assert "2 bits is for study only" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_eight_bits_are_exported_as_the_float_network(
    edgekd: Command, weights: Path, high: Path, tmp_path: Path
) -> None:
    files = []
    for number, model in enumerate(([high], ["digits_resnet", "--weights", weights])):
        out = tmp_path / str(number)
        status, _, err = edgekd(
            "export", *model, "--target", "onnx-int8", "--calibration", "digits",
            "--out", out,
        )  # fmt: skip
        assert status == 0, err
        files.append(records.read(records.Artifact, out / "artifact.json"))
    assert files[0].quantised_layers == files[1].quantised_layers > 0
    assert files[0].bytes == pytest.approx(files[1].bytes, rel=0.01)


def test_a_quantised_network_is_not_pruned(edgekd: Command, low: Path, tmp_path: Path) -> None:
    status, _, err = edgekd("prune", low, "--macs", 0.5, "--out", tmp_path / "out")
    assert status == 2
    assert "prune the float one first" in err


def test_a_quantised_student_is_taught_and_stays_quantised(
    edgekd: Command, weights: Path, low: Path, tmp_path: Path
) -> None:
    status, _, err = edgekd(
        "finetune", low, "--teacher", "digits_resnet", "--teacher-weights", weights,
        "--recipe", "digits", "--set", "stages.0.epochs=1", "--set", "stages.1.epochs=1",
        "--data", "digits", "--out", tmp_path / "taught",
    )  # fmt: skip
    assert status == 0, err
    taught = checkpoint.load(tmp_path / "taught")
    assert taught.record.stage == "distilled"
    assert taught.quantisation == checkpoint.load(low).quantisation
    name = "layer1.0.conv1.activation_step"
    assert taught.module.state_dict()[name] != load_file(low / "model.safetensors")[name]
