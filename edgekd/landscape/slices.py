"""The loss along lines, over planes, and on the way from one network to another."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from edgekd.core.errors import UsageError
from edgekd.landscape.loss import Objective, Tick, Weights, moved, nobody, value


def line(
    objective: Objective,
    weights: Weights,
    direction: Weights,
    positions: Sequence[float],
    tick: Tick = nobody,
) -> tuple[float, ...]:
    """Return L(weights + p * direction) for each position p."""
    found = []
    for position in positions:
        found.append(value(objective, moved(weights, direction, position)))
        tick()
    return tuple(found)


def plane(
    objective: Objective,
    weights: Weights,
    first: Weights,
    second: Weights,
    positions: Sequence[float],
    tick: Tick = nobody,
) -> tuple[tuple[float, ...], ...]:
    """Return L(weights + p * first + q * second), a row for each q, a column for each p."""
    return tuple(
        line(objective, moved(weights, second, position), first, positions, tick)
        for position in positions
    )


def path(
    objective: Objective,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
    points: int,
    tick: Tick = nobody,
) -> tuple[float, ...]:
    """Return L((1 - t) * start + t * end) for t from 0 to 1, evenly spaced, ends included.

    Floating point buffers in ``start`` and ``end`` (the running statistics of BN) are mixed like
    weights, so that both ends are the networks themselves. In between they are not what a new
    estimate would give, which can make a barrier look higher than it is.

    Args:
        objective: of the first network.
        start: parameters and buffers, by dotted name.
        end: the same names and shapes.
        points: 2 or more.
        tick: called after each point.

    Raises:
        UsageError: names or shapes differ.
    """
    shapes = [{name: tuple(t.shape) for name, t in side.items()} for side in (start, end)]
    if shapes[0] != shapes[1]:
        names = sorted(
            name
            for name in shapes[0].keys() | shapes[1].keys()
            if shapes[0].get(name) != shapes[1].get(name)
        )
        raise UsageError(
            f"there is no straight path between networks of different shapes: {len(names)} "
            f"tensors differ, first '{names[0]}'. Name checkpoints of one architecture and cut"
        )
    step = {
        name: end[name] - tensor for name, tensor in start.items() if tensor.is_floating_point()
    }
    found = []
    for point in range(points):
        share = point / (points - 1)
        # The end itself, free of rounding.
        weights = dict(end) if point == points - 1 else moved(dict(start), step, share)
        found.append(value(objective, weights))
        tick()
    return tuple(found)


def barrier(losses: Sequence[float]) -> float:
    """Return by how much a path exceeds the straight line between the losses at its ends, at most.

    max over t of L(t) - ((1 - t) * L(0) + t * L(1)), which is 0 at both ends, so never below 0.
    """
    last = len(losses) - 1
    first, end = losses[0], losses[-1]
    inside = (loss - first - (end - first) * at / last for at, loss in enumerate(losses))
    return max(0.0, *inside)
