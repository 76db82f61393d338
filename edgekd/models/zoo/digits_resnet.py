"""A small residual network for 1x8x8 grey images, which trains in seconds on one core."""

from torch import Tensor, nn

from edgekd.core.records import Normalisation
from edgekd.models.family import Defaults, Family

NAMES = "digits_resnet"


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is learnt where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            project = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(project, nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Return [N, outputs, H / stride, W / stride]."""
        hidden_nchw = self.relu1(self.bn1(self.conv1(features_nchw)))
        residual_nchw: Tensor = self.bn2(self.conv2(hidden_nchw))
        result_nchw: Tensor = self.relu2(residual_nchw + self.shortcut(features_nchw))
        return result_nchw


class SmallResNet(nn.Module):
    """Two stages of two blocks, with 16 and 32 channels on 8x8 and 4x4 pixels."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(32, classes)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits [N, K]."""
        features_nchw = self.relu(self.bn1(self.conv1(images_nchw)))
        features_nchw = self.layer2(self.layer1(features_nchw))
        logits_nk: Tensor = self.linear(self.pool(features_nchw).flatten(1))
        return logits_nk


class DigitsResNet(Family):
    """The one network for 8x8 digits."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Return the network."""
        del name
        return SmallResNet(classes)

    def defaults(self, name: str) -> Defaults:
        """Return 1x8x8 and the mean and deviation of scikit-learn's digits, scaled to [0, 1]."""
        del name
        return Defaults((1, 8, 8), Normalisation(mean=(0.305,), std=(0.376,)))
