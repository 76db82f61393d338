"""A network, images and a listener so small that a stage takes a fraction of a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.core import provenance, records, specs
from edgekd.data.images import ImageSet, Stored, image_set
from edgekd.data.sources import Splits
from edgekd.distill import trainer
from edgekd.models import checkpoint, score
from edgekd.models.checkpoint import Model
from edgekd.models.surgery import Surgery

CLASSES = ("left", "right", "top")
NORMALISATION = records.Normalisation(mean=(0.4,), std=(0.3,))


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, features_nchw: Tensor) -> Tensor:
        hidden_nchw = self.relu1(self.bn1(self.conv1(features_nchw)))
        return self.relu2(self.bn2(self.conv2(hidden_nchw)) + features_nchw)


class Net(nn.Module):
    """Two residual blocks on 6x6 pixels."""

    def __init__(self, channels: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.blocks = nn.Sequential(Block(channels), Block(channels))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(4 * channels, len(CLASSES))

    def forward(self, images_nchw: Tensor) -> Tensor:
        features_nchw = self.blocks(self.relu(self.bn(self.conv(images_nchw))))
        return self.linear(self.dropout(self.pool(features_nchw).flatten(1)))


def network(seed: int = 0, channels: int = 4, dropout: float = 0.0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(channels, dropout)


def model(seed: int = 0, module: nn.Module | None = None, name: str = "toy") -> Model:
    """Wrap a network as a model whose hash depends on its weights."""
    module = network(seed) if module is None else module
    parameters, macs = checkpoint.count(module, (1, 6, 6))
    record = records.Checkpoint(
        provenance=provenance.stamp(),
        stage="initial",
        model=name,
        classes=len(CLASSES),
        class_names=CLASSES,
        input_shape=(1, 6, 6),
        normalisation=NORMALISATION,
        weights_sha256=str([p.detach().double().sum().item() for p in module.parameters()]),
        parameters=parameters,
        macs=macs,
    )
    return Model(module, record, Surgery.none())


def images(count: int, seed: int) -> ImageSet:
    """Noise with one bright edge, which is the class."""
    generator = np.random.default_rng(seed)
    labels_n = generator.integers(len(CLASSES), size=count)
    pixels = generator.integers(120, size=(count, 6, 6, 1))
    for image, label in zip(pixels, labels_n, strict=True):
        edge = (image[:, :2], image[:, 4:], image[:2])[label]
        edge += 100
    return image_set(Stored(pixels.astype(np.uint8)), labels_n, CLASSES, "toys")


def splits(train: int = 48, validation: int = 30) -> Splits:
    sets = images(train, 1), images(validation, 2), images(6, 3)
    return Splits(*sets, class_names=CLASSES, source="toys")


DATA = specs.Data(source="toys", augment="shift", batch_size=16)
TRAINING = specs.Training(device="cpu", amp="off", compile="off")


def stage(**changes: object) -> specs.Stage:
    """Return a stage of three epochs of cross-entropy, but for the changes."""
    return specs.Stage.model_validate({"epochs": 3, "learning_rate": 0.1, **changes})


def fit(
    folder: Path,
    stage_: specs.Stage,
    student: Model | None = None,
    teacher: Model | None = None,
    **changes: object,
) -> tuple[nn.Module, records.Training]:
    """Train a toy."""
    options: dict[str, object] = {
        "splits": splits(),
        "data": DATA,
        "training": TRAINING,
        "folder": folder,
        "name": "stage-1",
        **changes,
    }
    return trainer.fit(student or model(), teacher, stage_, **options)


def distilling(**changes: object) -> specs.Stage:
    """Return a stage with both methods."""
    methods = [{"name": "kd"}, {"name": "fdkd", "options": {"layers": "all"}}]
    return stage(methods=methods, **changes)


def same(one: nn.Module, other: nn.Module) -> bool:
    """Say whether all parameters and buffers are equal to the last bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


class Listener:
    """Progress that calls a function at every advance with title, count and note."""

    def __init__(self, function: Callable[[str, int, str], None]) -> None:
        self._function = function

    @contextmanager
    def task(self, title: str, total: int) -> Iterator["Listener"]:
        self.title, self.total, self.count = title, total, 0
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.count += amount
        self._function(self.title, self.count, note)


def correct(module: nn.Module) -> float:
    """Return the top-1 on the validation images, in percent."""
    return score.top1_percent(module, splits().validation, NORMALISATION)
