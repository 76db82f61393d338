"""What a family of architectures is: a file in ``zoo/`` that builds networks by name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.core.records import Normalisation

IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Defaults:
    """What a network takes unless its checkpoint says otherwise."""

    input_shape: tuple[int, int, int]  # C, H, W
    normalisation: Normalisation


class Family(ABC):
    """Networks that share code; the module's constant NAMES lists them, separated by spaces."""

    @abstractmethod
    def build(self, name: str, classes: int) -> nn.Module:
        """Return a new network with random weights; nothing is downloaded.

        Args:
            name: one of the family, as the user wrote it.
            classes: number of logits, >= 1.

        Raises:
            UsageError: the family has no such network.
        """

    @abstractmethod
    def defaults(self, name: str) -> Defaults:
        """Return the input shape and the normalisation of network ``name``."""


class FixedConv2d(nn.Conv2d):
    """A convolution without bias whose weight is a constant of the architecture.

    The weight is a buffer: no optimiser, weight decay or ``requires_grad_`` reaches it, and it is
    not counted as a parameter. Weights files of other programs may lack it.

    Args:
        weight_oihw: [O, I, kH, kW].
        stride: in pixels.
    """

    def __init__(self, weight_oihw: Tensor, stride: int) -> None:
        outputs, inputs, *kernel = weight_oihw.shape
        super().__init__(inputs, outputs, (kernel[0], kernel[1]), stride=stride, bias=False)
        del self.weight
        self.register_buffer("weight", weight_oihw)


def padding_shortcut(inputs: int, outputs: int, stride: int) -> FixedConv2d:
    """Return He's option A: subsample by ``stride`` and pad with zero channels on both sides.

    Written as a 1x1 convolution with zeros and ones, so that pruning and export see which
    channel becomes which; the result is the same to the last bit.

    Source: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2.
    """
    weight_oihw = torch.zeros(outputs, inputs, 1, 1)
    first = (outputs - inputs) // 2
    weight_oihw[first : first + inputs, :, 0, 0] = torch.eye(inputs)
    return FixedConv2d(weight_oihw, stride)
