"""Losses whose Hessian is known, and a network that is small enough to work out by hand."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn


class Quadratic:
    """L(w) = w A w / 2 + b w, in two terms of which the first is linear."""

    def __init__(self, matrix: Tensor, slope: Tensor | None = None) -> None:
        self.matrix = matrix
        self.slope = torch.zeros(len(matrix), dtype=matrix.dtype) if slope is None else slope

    def terms(self, weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
        w = weights["w"]
        yield self.slope @ w
        yield w @ self.matrix @ w / 2


def net() -> nn.Sequential:
    """Return a convolution, a batch normalisation that has seen images, and a classifier."""
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip
    with torch.no_grad():
        module(torch.randn(8, 1, 4, 4))
    return module


def images(count: int = 6) -> tuple[Tensor, Tensor]:
    """Return images [N, 1, 4, 4] and labels [N] of three classes."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, 1, 4, 4, generator=generator), torch.arange(count) % 3
