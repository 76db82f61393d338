"""One small trained-looking network, and its exports, shared by the tests that only read them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.core import catalogue, provenance, records
from edgekd.export.target import Target
from edgekd.export.write import Calibration, export
from edgekd.models.checkpoint import Model
from edgekd.models.surgery import Surgery
from edgekd.quantize import ranges

SHAPE = (3, 16, 16)


class Small(nn.Module):
    """A residual network with everything that is folded or dropped on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(16, 20)

    def forward(self, images_nchw: Tensor) -> Tensor:
        stem_nchw = self.relu(self.bn1(self.conv1(images_nchw)))
        features_nchw = self.relu(self.bn2(self.conv2(stem_nchw)) + stem_nchw)
        logits_nk: Tensor = self.linear(self.dropout(self.pool(features_nchw).flatten(1)))
        return logits_nk


def make_model(module: nn.Module, shape: tuple[int, int, int] = SHAPE, classes: int = 20) -> Model:
    """Return a network with a record, as if it had been read from a checkpoint."""
    record = records.Checkpoint(
        provenance=provenance.stamp(),
        stage="teacher",
        model="tests:small",
        classes=classes,
        class_names=tuple(str(index) for index in range(classes)),
        input_shape=shape,
        normalisation=records.Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        weights_sha256="ab" * 32,
        parameters=1,
        macs=1,
    )
    return Model(module, record, Surgery.none())


def make_images(count: int, shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    """Return images whose colour and contrast differ, so that the logits do."""
    random = np.random.default_rng(count)
    shift = random.standard_normal((count, shape[0], 1, 1))
    noise = random.standard_normal((count, *shape)) * random.uniform(0.2, 2, (count, 1, 1, 1))
    return (shift + noise).astype(np.float32)


def settle(module: nn.Module, images_nchw: NDArray[np.float32]) -> nn.Module:
    """Give batch normalisation the statistics of these images, as training would."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None
            part.train()
        else:
            part.training = False
    with torch.no_grad():
        module(torch.from_numpy(images_nchw))
    return module.eval()


def calibration(images_nchw: NDArray[np.float32], calibrator: str = "minmax") -> Calibration:
    """Let a calibrator see images."""

    def find(path: Path, tensors: list[str]) -> dict[str, ranges.Range]:
        return ranges.calibrate(path, tensors, [images_nchw], calibrator)

    return Calibration(find, f"{calibrator} on {len(images_nchw)} training images")


@pytest.fixture(scope="session")
def small() -> Model:
    """The network; its batch normalisation has seen images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Small()
    return make_model(settle(module, make_images(64)))


@pytest.fixture(scope="session")
def exports(small: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network's artifact for every built-in target: name -> folder."""
    folders = {}
    for name in catalogue.names("export"):
        folders[name] = tmp_path_factory.mktemp("exports") / name
        export(
            small,
            Target.read(name),
            folders[name],
            parity_nchw=make_images(32),
            calibration=calibration(make_images(128)),
        )
    return folders
