"""Random directions that are as large as the weights: filter normalisation.

A ReLU network that is followed by batch normalisation computes the same when a filter is scaled,
so a step of a fixed length means more where filters are small. Directions whose filters are as
long as the network's own undo that: Li et al., 2018, https://arxiv.org/abs/1712.09913.
"""

import torch
from torch import Tensor

from edgekd.landscape.loss import Weights

_FEWEST_AXES = 2  # parameters with fewer are biases, or scale and shift of a normalisation


def draw(weights: Weights, seed: int, which: int) -> Weights:
    """Draw a direction with Gaussian entries, and normalise it filter by filter.

    d_i <- d_i * ||w_i|| / ||d_i||, where i counts the slices along the first axis: the filters of
    a convolution, the rows of a linear layer. Biases and the parameters of normalisations, which
    have one axis, get 0.

    The numbers are drawn on the CPU in the order of the names, so networks with equal names and
    shapes get the same ones before they are normalised, on every device.

    Args:
        weights: all parameters.
        seed: >= 0.
        which: 0 is the first direction, 1 the second.

    Source: section 4 of the paper, from memory; the zeros are its authors' choice, too.
    """
    generator = torch.Generator().manual_seed(2 * seed + which)
    return {
        name: _scaled(tensor, torch.randn(tensor.shape, generator=generator))
        if tensor.dim() >= _FEWEST_AXES
        else torch.zeros_like(tensor)
        for name, tensor in weights.items()
    }


def _scaled(weight: Tensor, noise: Tensor) -> Tensor:
    """Give each filter of the noise the length of the weight's."""
    noise = noise.to(weight)
    axes = tuple(range(1, weight.dim()))
    return noise * (_length(weight, axes) / _length(noise, axes).clamp_min(1e-12))


def _length(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    return tensor.square().sum(axes, keepdim=True).sqrt()
