"""How far one network's answers are from another's, and which of its layers must stay float.

Letters: N images, K classes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import predictions
from edgekd.core.errors import DataError
from edgekd.core.sensitivity import Damage

CONFIDENCE = 0.95  # two-sided


def damage(
    float_nk: NDArray[np.float32], other_nk: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> Damage:
    """Compare a network's logits with the float network's, image by image.

    Args:
        float_nk: the float network's logits.
        other_nk: those of the same network with some layers in INT8.
        labels_n: in [0, K).

    Raises:
        DataError: the shapes do not fit, or a logit is not finite.
    """
    _check(float_nk, other_nk, labels_n)
    one, other = float_nk.astype(np.float64), other_nk.astype(np.float64)
    length, error = float(np.linalg.norm(one)), float(np.linalg.norm(other - one))
    right_n, kept_n = (logits_nk.argmax(axis=1) == labels_n for logits_nk in (one, other))
    lost, gained = predictions.discordant(right_n, kept_n)
    return Damage(
        relative_l2=error / length if length else float(error > 0),
        kl_nats=_kl_nats(one, other),
        max_error=float(np.abs(other - one).max()),
        top1_percent=100 * float(kept_n.mean()),
        lost=lost,
        gained=gained,
        drop_pp=predictions.drop_pp(right_n, kept_n, CONFIDENCE),
    )


def fewest_float(
    order: Sequence[str], passes: Callable[[tuple[str, ...]], bool]
) -> tuple[str, ...] | None:
    """Search a small set of layers that must stay float for a rule to hold.

    First by bisection over how many of the most sensitive layers stay float; then each of them,
    the least sensitive first, goes back to INT8 if the rule holds all the same. No smaller set is
    promised, for that would take 2 ** L trials; these are about log2(L) and one for each layer
    that is left. It asks for no set twice.

    Args:
        order: L layers, the most sensitive first.
        passes: says whether the rule holds with these layers in float and the others in INT8.

    Returns:
        The layers in the given order, () if none must stay float, or None if the rule does not
        even hold with the last layer alone in INT8.
    """
    if passes(()):
        return ()
    low, high = 0, len(order) - 1  # layers in float: too few, enough
    if high < 1 or not passes(tuple(order[:high])):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if passes(tuple(order[:middle])):
            high = middle
        else:
            low = middle
    kept = tuple(order[:high])
    for layer in reversed(order[: high - 1]):  # without the last one, the bisection says, it fails
        fewer = tuple(name for name in kept if name != layer)
        if fewer and passes(fewer):
            kept = fewer
    return kept


def _kl_nats(one_nk: NDArray[np.float64], other_nk: NDArray[np.float64]) -> float:
    one, other = _log_softmax(one_nk), _log_softmax(other_nk)
    each_n = (np.exp(one) * (one - other)).sum(axis=1)
    return max(0.0, float(each_n.mean()))  # never below 0 but by rounding


def _log_softmax(logits_nk: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits_nk - logits_nk.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _check(
    float_nk: NDArray[np.float32], other_nk: NDArray[np.float32], labels_n: NDArray[np.int64]
) -> None:
    if float_nk.shape != other_nk.shape or float_nk.ndim != 2 or len(float_nk) != len(labels_n):  # noqa: PLR2004
        raise DataError(
            f"logits of {list(float_nk.shape)} and {list(other_nk.shape)} for {len(labels_n)} "
            "images cannot be compared: expected one row for each image, from one network"
        )
    if not len(labels_n):
        raise DataError("there are no images to compare two networks on")
    for name, logits_nk in (("float", float_nk), ("quantised", other_nk)):
        if not np.isfinite(logits_nk).all():
            raise DataError(
                f"the {name} network gives logits that are not finite: look for the layer with "
                "`edgekd diff`"
            )
