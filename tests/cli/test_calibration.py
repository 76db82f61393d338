"""``edgekd calibration`` on a network that has learnt digits for a moment."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.core import specs
from edgekd.core.calibration import Checkup
from edgekd.data import augment, sources
from edgekd.models import checkpoint
from tests.cli.conftest import Command

CALIBRATORS = {"entropy", "minmax", "mse", "percentile"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that tells digits apart, more or less."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = checkpoint.open_model("digits_resnet", classes=10, input_shape=(1, 8, 8))
        images = sources.load(specs.Data(source="digits"), seed=0).train
        optimiser = torch.optim.SGD(model.module.parameters(), lr=0.1, momentum=0.9)
        for rows in torch.arange(len(images)).split(64)[:12]:
            pixels = images.batch(rows.numpy())
            images_nchw = augment.normalise(pixels, model.record.normalisation, "cpu")
            optimiser.zero_grad()
            labels_n = torch.from_numpy(images.labels_n[rows.numpy()])
            nn.functional.cross_entropy(model.module(images_nchw), labels_n).backward()
            optimiser.step()
    folder = tmp_path_factory.mktemp("calibration") / "net"
    checkpoint.save(folder, model.module.eval(), model.record, model.surgery)
    return folder


def test_calibrators_are_compared_on_the_same_images(edgekd: Command, net: Path) -> None:
    status, out, err = edgekd(
        "calibration", net, "--data", "digits", "--target", "onnx-int8",
        "--calibration-images", 200, "--validation-images", 80, "--json",
    )  # fmt: skip
    assert status == 0, err
    found = Checkup.model_validate(json.loads(out))
    assert {choice.calibrator for choice in found.choices} == CALIBRATORS
    distances = [choice.relative_l2 for choice in found.choices]
    assert distances == sorted(distances)
    assert 0 < distances[0] < 0.2
    assert found.choices[0].top1_agreement_ratio > 0.9
    assert (found.images, found.evaluated_images) == (200, 80)
    assert sum(found.images_by_class.values()) == 200
    for seen in found.tensors:
        low, high = seen.low_high["minmax"]
        assert seen.clipped_ratio["minmax"] == 0
        for bounds in seen.low_high.values():
            assert low <= bounds[0] <= 0 <= bounds[1] <= high


def test_the_table_ends_with_a_recommendation(edgekd: Command, net: Path) -> None:
    status, out, _ = edgekd("calibration", net, "--data", "digits", "--calibration-images", 200)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("200 training images of digits, ")
    assert any(line.split()[:1] == ["images"] for line in lines)  # a tensor's row
    assert lines[-1].startswith("recommended: --calibrator ")
    assert int(lines[-1].split()[-1]) in {200, 400}  # as many, or twice as many


def test_two_images_are_too_few_and_strict_says_so(edgekd: Command, net: Path) -> None:
    arguments = ("calibration", net, "--data", "digits", "--calibration-images", 2)
    status, out, _ = edgekd(*arguments)
    assert status == 0
    assert "finding: 2 images are too few" in out
    assert "finding: classes without an image: " in out
    assert "are enough" not in out
    assert "2 images are not enough: see the findings" in out
    assert out.splitlines()[-1].endswith(" --calibration-images 4")
    status, _, _ = edgekd(*arguments, "--strict")
    assert status == 1


def test_a_target_without_int8_is_refused(edgekd: Command, net: Path) -> None:
    status, _, err = edgekd("calibration", net, "--data", "digits", "--target", "onnx-fp32")
    assert status == 2
    assert "'onnx-fp32' is not INT8" in err
