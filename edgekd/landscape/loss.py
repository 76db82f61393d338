"""The loss that landscapes are made of: plain cross-entropy on fixed images, for every network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn
from torch.func import functional_call

from edgekd.models import score

Weights = dict[str, Tensor]  # by dotted name, on one device
Tick = Callable[[], object]  # called after each evaluation of the loss or product with its Hessian


def nobody() -> None:
    """Listen to no tick."""


class Objective(Protocol):
    """A loss as a function of weights."""

    def terms(self, weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Yield scalars that add up to the loss; one at a time, to bound the memory."""
        ...


class CrossEntropy:
    """Mean cross-entropy of a network with the labels, as a function of its weights.

    The network is in evaluation mode while it is called (stored BN statistics, no dropout), and
    neither its parameters nor its buffers nor its mode change.

    Args:
        module: on the device of the images.
        batches: (normalised images [B, C, H, W], labels [B]), N images in all; kept as they are.

    Raises:
        ValueError: there are no images.
    """

    def __init__(self, module: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._module = module
        self._batches = batches
        self._images = sum(len(labels_n) for _, labels_n in batches)
        if not self._images:
            raise ValueError("a loss needs one image or more, found none")

    def terms(self, weights: Mapping[str, Tensor]) -> Iterator[Tensor]:
        """Yield each batch's share of the mean over all N images.

        Args:
            weights: parameters, and buffers if need be; the module's own stand in for the rest.
        """
        for images_nchw, labels_n in self._batches:
            with score.evaluating(self._module):
                logits_nk = functional_call(self._module, dict(weights), (images_nchw,))
            yield F.cross_entropy(logits_nk, labels_n, reduction="sum") / self._images


def value(objective: Objective, weights: Mapping[str, Tensor]) -> float:
    """Return the loss, summed in double precision."""
    with torch.no_grad():
        return sum(float(term) for term in objective.terms(weights))


def moved(weights: Weights, direction: Weights, distance: float) -> Weights:
    """Return weights + distance * direction; what the direction lacks stays."""
    return {
        name: tensor + distance * direction[name] if name in direction else tensor
        for name, tensor in weights.items()
    }


def parameters(module: nn.Module) -> Weights:
    """Return the parameters of a network that are floating point numbers, detached."""
    return {name: tensor.detach() for name, tensor in module.named_parameters()}
