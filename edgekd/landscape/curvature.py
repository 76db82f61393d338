"""How the loss bends: top Hessian eigenvalue, trace of the Hessian, sharpness.

All are taken with respect to the weights that are given, the Hessian H through products with
vectors: H v is the gradient of (gradient . v). They are not those of the filter-normalised
pictures: they grow when weights that are followed by batch normalisation are scaled down, which
changes nothing in what the network computes.
"""

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekd.landscape.loss import Objective, Tick, Weights, moved, nobody, value


@dataclass(frozen=True)
class Eigenvalue:
    """The outcome of a power iteration.

    Args:
        value: the eigenvalue of largest magnitude, with its sign.
        iterations: products with the Hessian.
        converged: whether the last one changed it by less than the tolerance.
    """

    value: float
    iterations: int
    converged: bool


@dataclass(frozen=True)
class Estimate:
    """A mean of random numbers and its standard error."""

    value: float
    error: float


def gradient(objective: Objective, weights: Weights) -> Weights:
    """Return the gradient of the loss."""
    total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    leaves = _leaves(weights)
    for term in objective.terms(leaves):
        _add(total, _grad(term, leaves, create_graph=False))
    return total


def hessian_product(objective: Objective, weights: Weights, vector: Weights) -> Weights:
    """Return H v: the loss's second derivative times a vector, by differentiating twice."""
    total = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    leaves = _leaves(weights)
    for term in objective.terms(leaves):
        slopes = _grad(term, leaves, create_graph=True)
        along = _dot(slopes, vector)
        if along.requires_grad:  # else this part of the loss is linear
            _add(total, _grad(along, leaves, create_graph=False))
    return total


def top_eigenvalue(
    objective: Objective,
    weights: Weights,
    seed: int,
    *,
    tolerance: float = 1e-3,
    most: int = 50,
    tick: Tick = nobody,
) -> Eigenvalue:
    """Return the Hessian's eigenvalue of largest magnitude, by power iteration.

    v <- H v / ||H v|| from a random v; the eigenvalue is the Rayleigh quotient v . H v. At a
    trained network it is positive; a negative one says that the weights lie on a saddle.

    Args:
        objective: twice differentiable almost everywhere.
        weights: where.
        seed: of the first vector, drawn on the CPU.
        tolerance: relative change of the eigenvalue below which it has converged.
        most: iterations at most.
        tick: called after each.
    """
    generator = torch.Generator().manual_seed(seed)
    vector = _unit(
        {name: torch.randn(t.shape, generator=generator).to(t) for name, t in weights.items()}
    )
    before = math.inf
    for iteration in range(1, most + 1):
        product = hessian_product(objective, weights, vector)
        now = float(_dot(vector, product))
        tick()
        if now == before or abs(now - before) < tolerance * abs(now):
            return Eigenvalue(now, iteration, converged=True)
        before, vector = now, _unit(product)
    return Eigenvalue(before, most, converged=False)


def trace(
    objective: Objective, weights: Weights, seed: int, *, probes: int = 20, tick: Tick = nobody
) -> Estimate:
    """Estimate the trace of the Hessian: the mean of v . H v over vectors of random signs.

    Hutchinson's estimator: unbiased, and exact for a diagonal Hessian.

    Args:
        objective: twice differentiable almost everywhere.
        weights: where.
        seed: of the vectors, drawn on the CPU.
        probes: vectors, 2 or more; the standard error falls with their square root.
        tick: called after each.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(probes):
        signs = {
            name: (2 * torch.randint(0, 2, tensor.shape, generator=generator) - 1).to(tensor)
            for name, tensor in weights.items()
        }
        found.append(float(_dot(signs, hessian_product(objective, weights, signs))))
        tick()
    return Estimate(statistics.fmean(found), statistics.stdev(found) / math.sqrt(probes))


def sharpness(objective: Objective, weights: Weights, rho: float) -> float:
    """Return by how much the loss rises in one step of length ``rho`` straight uphill.

    L(w + rho * g / ||g||) - L(w), with g the gradient over all weights: to first order the worst
    that a step of this length can do. 0 where the gradient is 0. Foret et al., 2020, SAM,
    https://arxiv.org/abs/2010.01412, equation 2, from memory.
    """
    slope = gradient(objective, weights)
    if not float(_dot(slope, slope)):
        return 0.0
    return value(objective, moved(weights, _unit(slope), rho)) - value(objective, weights)


def _leaves(weights: Weights) -> Weights:
    return {name: tensor.detach().requires_grad_() for name, tensor in weights.items()}


def _grad(scalar: Tensor, leaves: Weights, *, create_graph: bool) -> Weights:
    """Return the gradient; 0 for weights that play no part."""
    slopes = torch.autograd.grad(
        scalar,
        list(leaves.values()),
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, slopes, strict=True))


def _add(total: Weights, more: Weights) -> None:
    for name, tensor in more.items():
        total[name] += tensor.detach()


def _dot(one: Weights, other: Weights) -> Tensor:
    return torch.stack([(one[name] * other[name]).sum() for name in one]).sum()


def _unit(vector: Weights) -> Weights:
    """Return a vector of length 1 with the same direction; 0 stays 0."""
    length = _dot(vector, vector).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return {name: tensor / length for name, tensor in vector.items()}
