"""Feature drift: how far the first epoch of a stage moves what the classifier reads.

d = 1 - CKA(before, after), in [0, 1]: 0 if both say the same up to rotation and scale.

Linear centred kernel alignment: Kornblith et al., ICML 2019, https://arxiv.org/abs/1905.00414.
Its use for drift, and which images are asked, are ours. With fewer images than features the
alignment is overestimated, so compare only drifts of the same images and the same network.

Suffixes: N images, D features.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.core.records import Normalisation
from edgekd.data.augment import normalise
from edgekd.models import score
from edgekd.models.score import Images

IMAGES = 1000  # at most
_BATCH = 256


def linear_cka(one_nd: Tensor, other_ne: Tensor) -> float:
    """Return |Y'X|^2 / (|X'X| |Y'Y|) of the centred features X and Y, Frobenius norms; in [0, 1].

    It does not change if either is rotated, mirrored, moved or scaled.

    Args:
        one_nd: [N, D].
        other_ne: [N, E]; its rows are about the same images.

    Raises:
        ValueError: not as many rows, or features that are equal for all images.
    """
    if len(one_nd) != len(other_ne):
        raise ValueError(f"CKA compares row by row, but {len(one_nd)} meet {len(other_ne)} rows")
    one, other = _centred(one_nd), _centred(other_ne)
    if len(one) < max(one.shape[1], other.shape[1]):  # N x N kernels are smaller, and say the same
        kernels = one @ one.T, other @ other.T
        cross = (kernels[0] * kernels[1]).sum()
    else:
        kernels = one.T @ one, other.T @ other
        cross = (other.T @ one).square().sum()
    scale = kernels[0].norm() * kernels[1].norm()
    if scale == 0:
        raise ValueError("CKA is not defined for features that are equal for all images")
    return min(1.0, float(cross / scale))


def penultimate(
    module: nn.Module,
    classifier: str,
    images: Images,
    normalisation: Normalisation,
    *,
    device: str = "cpu",
) -> Tensor:
    """Return what the classifier reads about the first images, [N, D], N <= 1000; no labels.

    Args:
        module: on the device; asked in evaluation mode, and left in its own.
        classifier: dotted name of its last layer.
        images: the validation images.
        normalisation: of the network.
        device: "cpu", "cuda", "cuda:1".
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        found.append(args[0].detach().float().flatten(1))

    hook = module.get_submodule(classifier).register_forward_pre_hook(keep)
    count = min(len(images), IMAGES)
    try:
        with score.evaluating(module), torch.no_grad():
            for first in range(0, count, _BATCH):
                ids_n = np.arange(first, min(first + _BATCH, count))
                module(normalise(images.batch(ids_n), normalisation, device))
    finally:
        hook.remove()
    return torch.cat(found)


def drift(before_nd: Tensor, after_nd: Tensor) -> float | None:
    """Return 1 - CKA, in [0, 1]; None where one of both says the same of all images."""
    try:
        return 1.0 - linear_cka(before_nd, after_nd)
    except ValueError:
        return None


def _centred(rows_nd: Tensor) -> Tensor:
    # float64: the drift of a careful epoch is small beside 1.
    rows = rows_nd.double()
    rows = rows - rows.mean(dim=0)
    largest = rows.abs().max()
    return rows / largest if largest > 0 else rows
