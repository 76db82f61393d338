"""ResNet-20 to -110 for 3x32x32 images, with shortcuts of option A.

Source: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2. The weights' names are those
of https://github.com/akamaster/pytorch_resnet_cifar10, so its published weights can be loaded.
"""

from torch import Tensor, nn

from edgekd.models.family import IMAGENET, Defaults, Family, padding_shortcut

NAMES = "cifar_resnet20 cifar_resnet32 cifar_resnet44 cifar_resnet56 cifar_resnet110"


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else padding_shortcut(inputs, outputs, stride)
        self.relu2 = nn.ReLU()

    def forward(self, features_nchw: Tensor) -> Tensor:
        """Return [N, outputs, H / stride, W / stride]."""
        hidden_nchw = self.relu1(self.bn1(self.conv1(features_nchw)))
        residual_nchw: Tensor = self.bn2(self.conv2(hidden_nchw))
        result_nchw: Tensor = self.relu2(residual_nchw + self.shortcut(features_nchw))
        return result_nchw


class ResNet(nn.Module):
    """Three stages of ``blocks`` blocks with 16, 32 and 64 channels."""

    def __init__(self, blocks: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, 1, blocks)
        self.layer2 = _stage(16, 32, 2, blocks)
        self.layer3 = _stage(32, 64, 2, blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and isinstance(
                module.weight, nn.Parameter
            ):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits [N, K]."""
        features_nchw = self.relu(self.bn1(self.conv1(images_nchw)))
        features_nchw = self.layer3(self.layer2(self.layer1(features_nchw)))
        logits_nk: Tensor = self.linear(self.pool(features_nchw).flatten(1))
        return logits_nk


class CifarResNet(Family):
    """ResNet-20, -32, -44, -56 and -110."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Return the network; its depth is 6 * blocks + 2."""
        return ResNet((int(name.removeprefix("cifar_resnet")) - 2) // 6, classes)

    def defaults(self, name: str) -> Defaults:
        """Return 3x32x32 and the normalisation of the published weights, which is ImageNet's."""
        del name
        return Defaults((3, 32, 32), IMAGENET)


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inputs, outputs, stride), *rest)
