import torch
from torch import nn
from torch.nn import functional

from edgekd.models.family import padding_shortcut


def test_the_shortcut_equals_subsampling_and_zero_channels_to_the_last_bit() -> None:
    features_nchw = torch.randn(3, 16, 8, 8)
    expected = functional.pad(features_nchw[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(padding_shortcut(16, 32, 2)(features_nchw), expected)


def test_nothing_that_trains_reaches_a_fixed_convolution() -> None:
    shortcut = padding_shortcut(4, 8, 2).requires_grad_(requires_grad=True)
    assert list(shortcut.parameters()) == []
    assert list(shortcut.state_dict()) == ["weight"]
    assert isinstance(shortcut, nn.Conv2d)
