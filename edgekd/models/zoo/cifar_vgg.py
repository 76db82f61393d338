"""VGG-16 with batch normalisation for 3x32x32 images, and one of a quarter of its width.

Source: the channels of Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556, table 1, D;
one linear layer instead of three, as is usual for 32x32 pixels.
"""

from torch import Tensor, nn

from edgekd.models.family import IMAGENET, Defaults, Family

NAMES = "cifar_vgg16 cifar_vgg16_narrow"
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG(nn.Module):
    """Thirteen 3x3 convolutions in five stages, each ended by 2x2 pooling, and a linear layer."""

    def __init__(self, classes: int, divisor: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for stage in _STAGES:
            for width in stage:
                outputs = width // divisor
                layers += [
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(inputs, classes)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits [N, K]."""
        logits_nk: Tensor = self.linear(self.features(images_nchw).mean((2, 3)))
        return logits_nk


class CifarVGG(Family):
    """VGG-16 and its narrow variant."""

    def build(self, name: str, classes: int) -> nn.Module:
        """Return the network; the narrow one has 16 to 128 channels."""
        return VGG(classes, divisor=4 if name.endswith("_narrow") else 1)

    def defaults(self, name: str) -> Defaults:
        """Return 3x32x32 and ImageNet's normalisation, as for the other CIFAR networks."""
        del name
        return Defaults((3, 32, 32), IMAGENET)
