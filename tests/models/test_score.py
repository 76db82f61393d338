from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.core.errors import CheckpointError, DataError
from edgekd.core.records import Normalisation
from edgekd.models import score
from edgekd.models.build import build
from edgekd.models.weights import load_foreign

PLAIN = Normalisation(mean=(0.0,), std=(1.0,))


@dataclass
class Images:
    pixels_nhwc: NDArray[np.uint8]
    labels_n: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels_nhwc)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels_nhwc[indices]


def grey(count: int, seed: int = 0) -> Images:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 2, 2, 1), dtype=np.uint8)
    return Images(pixels, generator.integers(0, 3, count))


def test_logits_come_in_the_order_of_the_images_whatever_the_batch() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = grey(11)
    flat = torch.from_numpy(images.pixels_nhwc.reshape(11, 4)).float() / 255
    expected = module[1](flat).detach().numpy()
    for batch in (1, 4, 100):
        found = score.predict(module, images, PLAIN, batch=batch)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_top1_counts_the_images_whose_largest_logit_is_right() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    module[1].weight.data.zero_()
    module[1].bias.data.copy_(torch.tensor([0.0, 1.0, 0.0]))
    images = grey(8)
    images.labels_n[:] = [1, 1, 1, 0, 0, 2, 2, 2]
    assert score.top1_percent(module, images, PLAIN) == 37.5


def test_modes_come_back_as_they_were_part_by_part() -> None:
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3)).train()
    module[1].eval()
    score.predict(module, grey(4), PLAIN)
    assert [part.training for part in module] == [True, False, True, True]


def test_logits_that_are_not_finite_are_an_error() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    module[1].bias.data[0] = float("nan")
    with pytest.raises(CheckpointError, match="image 0 are not finite"):
        score.predict(module, grey(4), PLAIN)


def test_no_images_are_an_error() -> None:
    with pytest.raises(DataError, match="no images"):
        score.predict(nn.Flatten(), grey(0), PLAIN)


def test_recalibration_finds_the_mean_and_variance_of_the_images() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Dropout(0.9))
    module[0].running_mean.fill_(7)
    images = grey(64)
    score.recalibrate(module, images, PLAIN, 64, seed=0)
    pixels = images.pixels_nhwc / 255
    assert module[0].running_mean.item() == pytest.approx(pixels.mean(), abs=1e-6)
    assert module[0].running_var.item() == pytest.approx(pixels.var(ddof=1), abs=1e-6)
    assert module[0].momentum == 0.3


def test_recalibration_weighs_batches_alike_and_leaves_a_short_one_out() -> None:
    images = grey(128 + 5)
    module = nn.Sequential(nn.BatchNorm2d(1))
    score.recalibrate(module, images, PLAIN, 133, seed=3)
    chosen = np.random.default_rng(3).permutation(133)[:128]
    expected = (images.pixels_nhwc[chosen] / 255).mean()
    assert module[0].running_mean.item() == pytest.approx(expected, abs=1e-6)


def test_recalibration_of_no_images_changes_nothing() -> None:
    module = nn.Sequential(nn.BatchNorm2d(1))
    module[0].running_mean.fill_(7)
    score.recalibrate(module, grey(4), PLAIN, 0, seed=0)
    assert module[0].running_mean.item() == 7


def test_recalibration_needs_two_images() -> None:
    with pytest.raises(DataError, match="two images or more, found 1"):
        score.recalibrate(nn.Sequential(nn.BatchNorm2d(1)), grey(4), PLAIN, 1, seed=0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar_resnet20", "linear"),
        ("torchvision:mobilenet_v3_small", "classifier.3"),
        ("torchvision:squeezenet1_1", "classifier.1"),
        ("timm:resnet10t", "fc"),
    ],
)
def test_the_classifier_is_the_layer_that_makes_the_logits(name: str, expected: str) -> None:
    assert score.classifier(build(name, 10), 10) == expected


def test_a_network_without_a_classifier_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="no linear layer or 1x1 convolution with 9 outputs"):
        score.classifier(nn.Sequential(nn.Linear(3, 4)), 9)


@pytest.mark.slow
def test_published_weights_classify_the_real_test_images_as_measured(shared_data: Path) -> None:
    import sys

    sys.path.insert(0, str(shared_data))
    try:
        import load_shards
    finally:
        sys.path.remove(str(shared_data))
    shard = load_shards.JpegShard(shared_data / "cifar10_jpeg" / "test.npz")
    module = build("cifar_resnet20", 10)
    load_foreign(module, shared_data / "weights" / "cifar10_resnet20.safetensors")
    images = Images(*shard.to_array())
    # Measured by those who packed the data, with their own code.
    normalisation = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    assert score.top1_percent(module, images, normalisation) == pytest.approx(81.03, abs=0.011)
