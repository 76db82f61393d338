"""Draw images so that every class keeps its share."""

import numpy as np
from numpy.typing import NDArray


def draw(
    labels_n: NDArray[np.int64], count: int, generator: np.random.Generator, *, least: int = 0
) -> NDArray[np.int64]:
    """Draw ``count`` images without replacement, class by class.

    Each class gives a share in proportion to its size; what rounding leaves over goes to the
    largest remainders.

    Args:
        labels_n: class of each of N images.
        count: how many, in [0, N].
        generator: of the draw.
        least: as many at least from each class; ``least`` times the classes <= ``count``.

    Returns:
        [count] rows, ascending.
    """
    classes, sizes = np.unique(labels_n, return_counts=True)
    shares = _shares(sizes, count, least)
    chosen = [
        generator.permutation(np.flatnonzero(labels_n == label))[:share]
        for label, share in zip(classes.tolist(), shares.tolist(), strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _shares(sizes: NDArray[np.int64], count: int, least: int) -> NDArray[np.int64]:
    """Split ``count`` in proportion to ``sizes``, no share above its size."""
    shares: NDArray[np.int64] = np.minimum(sizes, least)
    left = count - int(shares.sum())
    room = sizes - shares
    assert 0 <= left <= room.sum(), (count, least, sizes)
    if left == 0:
        return shares
    exact = room * left / room.sum()
    shares = shares + exact.astype(np.int64)
    # Stable: of equal remainders the first class's is served first, on every machine.
    order = np.argsort(-(exact - exact.astype(np.int64)), kind="stable")
    shares[order[: count - int(shares.sum())]] += 1
    return shares
