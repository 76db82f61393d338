"""A network of one's own, as ``--model tests.pipeline.nets:tiny`` finds it."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.core import specs
from edgekd.data import sources
from edgekd.models.zoo.digits_resnet import Block


class Tiny(nn.Module):
    """Half the digits network: one block a stage, 8 and 16 channels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.layer1 = Block(8, 8, 1)
        self.layer2 = Block(8, 16, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(16, classes)

    def forward(self, images_nchw: Tensor) -> Tensor:
        features_nchw = self.relu(self.bn1(self.conv1(images_nchw)))
        features_nchw = self.layer2(self.layer1(features_nchw))
        return self.linear(self.pool(features_nchw).flatten(1))


def tiny(classes: int) -> nn.Module:
    return Tiny(classes)


def pair() -> tuple[list[tuple[NDArray[np.uint8], int]], ...]:
    """Return training and test images of threes and eights alone."""
    digits = sources.load(specs.Data(source="digits"), seed=0)
    found = []
    for images in (digits.train, digits.test):
        rows = np.flatnonzero(np.isin(images.labels_n, (3, 8)))
        pixels = images.batch(rows)[..., 0]
        found.append([(x, int(y == 8)) for x, y in zip(pixels, images.labels_n[rows], strict=True)])
    return tuple(found)
