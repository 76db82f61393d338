"""Every family of torchvision is pruned to half of its MACs, written, and read again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.core.specs import Prune
from edgekd.data.images import Stored, image_set
from edgekd.models import checkpoint, score
from edgekd.models.checkpoint import Model, count, open_model
from edgekd.prune.budget import TOLERANCE
from edgekd.prune.channels import prune

CLASSES = 10
FAST = [("torchvision:resnet18", 32), ("torchvision:mobilenet_v3_small", 32)]
SLOW = [
    ("cifar_resnet56", 32),
    ("cifar_vgg16", 32),
    ("torchvision:alexnet", 64),
    ("torchvision:densenet121", 64),
    ("torchvision:efficientnet_b0", 64),
    ("torchvision:efficientnet_v2_s", 64),
    ("torchvision:googlenet", 64),
    ("torchvision:inception_v3", 96),
    ("torchvision:mnasnet0_5", 64),
    ("torchvision:mobilenet_v2", 64),
    ("torchvision:mobilenet_v3_large", 64),
    ("torchvision:regnet_x_400mf", 64),
    ("torchvision:regnet_y_400mf", 64),
    ("torchvision:resnet50", 64),
    ("torchvision:resnext50_32x4d", 64),
    ("torchvision:shufflenet_v2_x0_5", 64),
    ("torchvision:squeezenet1_1", 64),
    ("torchvision:vgg16_bn", 64),
    ("torchvision:wide_resnet50_2", 64),
    ("timm:resnet10t", 64),
    ("timm:repvgg_a0", 64),
]


def opened(name: str, size: int) -> Model:
    """A network whose random weights let the images through to the logits."""
    torch.manual_seed(0)
    model = open_model(name, classes=CLASSES, input_shape=(3, size, size))
    for part in model.module.modules():
        if isinstance(part, nn.Conv2d) and isinstance(part.weight, nn.Parameter):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    pixels_nhwc = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8)
    images = image_set(
        Stored(pixels_nhwc), np.arange(8) % CLASSES, map(str, range(CLASSES)), "noise"
    )
    score.recalibrate(model.module, images, model.record.normalisation, 8, seed=0)
    return model


def logits(module: nn.Module, size: int) -> torch.Tensor:
    images_nchw = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with score.evaluating(module), torch.no_grad():
        return module(images_nchw)


@pytest.mark.parametrize(
    ("name", "size"), FAST + [pytest.param(*each, marks=pytest.mark.slow) for each in SLOW]
)
def test_half_of_the_macs_go_and_the_checkpoint_gives_the_same_logits(
    name: str, size: int, tmp_path: Path
) -> None:
    model = opened(name, size)
    # Equal logits of a network that is deaf to its input would say nothing.
    assert logits(model.module, size).std(0).mean() > 1e-3
    surgery = prune(model.module, (3, size, size), Prune(macs=0.5))
    _, left = count(model.module, (3, size, size))
    assert left / model.record.macs == pytest.approx(0.5, abs=TOLERANCE)
    expected = logits(model.module, size)
    assert expected.shape == (3, CLASSES)
    assert expected.std(0).mean() > 1e-3
    checkpoint.save(tmp_path, model.module, model.record, surgery)
    assert torch.equal(logits(checkpoint.load(tmp_path).module, size), expected)
