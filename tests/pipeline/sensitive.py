"""A network with depthwise convolutions whose INT8 can be made to fail in one layer on purpose.

One channel in front of the depthwise convolution is made a thousand times larger, and what reads it
a thousand times smaller: in float nothing changes. In INT8 all channels there share one scale, so
the others vanish: https://arxiv.org/abs/1906.04721 describes it for MobileNetV2.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.models import checkpoint

CLASSES, SIZE = 4, 8
LAYERS = ["conv1", "expand", "depthwise", "project"]  # those that TensorRT computes in INT8
_MEAN, _STD = 0.5, 0.25


class Inverted(nn.Module):
    """One inverted residual block between a convolution and a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.expand = nn.Conv2d(16, 32, 1)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.project = nn.Conv2d(32, 16, 1)
        self.linear = nn.Linear(16, classes)

    def forward(self, images_nchw: Tensor) -> Tensor:
        features_nchw = self.conv1(images_nchw).relu()
        inside_nchw = self.depthwise(self.expand(features_nchw).relu()).relu()
        features_nchw = features_nchw + self.project(inside_nchw)
        return self.linear(features_nchw.mean((2, 3)))


def net(classes: int) -> nn.Module:
    """Return always the same network, whose logits are centred on the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = Inverted(classes).eval().requires_grad_(False)
    for layer in (made.expand, made.depthwise, made.project):
        layer.weight *= 3  # the block outweighs what goes past it
    logits_nk = made(_prepared(_pixels(0, 400)))
    made.linear.bias -= logits_nk.mean(0)
    return made.requires_grad_(True)


def spoil(made: nn.Module, factor: float = 1000.0) -> None:
    """Make one channel in front of the depthwise convolution larger; the answers stay."""
    assert isinstance(made, Inverted)
    assert made.expand.bias is not None
    with torch.no_grad():
        made.expand.weight[0] *= factor
        made.expand.bias[0] *= factor
        made.depthwise.weight[0] /= factor


def images() -> tuple[list[tuple[NDArray[np.uint8], int]], ...]:
    """Return random images with the network's own answers as labels: in float it is right."""
    found = []
    for seed, count in ((0, 400), (1, 300), (2, 20)):
        pixels = _pixels(seed, count)
        labels = net(CLASSES)(_prepared(pixels)).argmax(1).tolist()
        found.append(list(zip(pixels, labels, strict=True)))
    return tuple(found)


def save(folder: Path, *, spoiled: bool) -> Path:
    model = checkpoint.open_model(
        "tests.pipeline.sensitive:net",
        classes=CLASSES, mean=(_MEAN,), std=(_STD,), input_shape=(1, SIZE, SIZE),
    )  # fmt: skip
    if spoiled:
        spoil(model.module)
    checkpoint.save(folder, model.module, model.record, model.surgery)
    return folder


def _pixels(seed: int, count: int) -> NDArray[np.uint8]:
    """Draw blobs: a few coarse pixels, enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 2, 2), dtype=np.uint8)
    return coarse.repeat(SIZE // 2, axis=1).repeat(SIZE // 2, axis=2)


def _prepared(pixels_nhw: NDArray[np.uint8]) -> Tensor:
    return (torch.from_numpy(pixels_nhw[:, None] / np.float32(255)) - _MEAN) / _STD
