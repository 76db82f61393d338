"""Does an artifact compute what its checkpoint does?"""

import numpy as np
from numpy.typing import NDArray

from edgekd.core.errors import ExportError
from edgekd.core.records import Parity, State

# Logits that hardly differ from image to image agree with anything: an untrained MobileNetV2 gives
# 4e-9 throughout, and any artifact would pass at an absolute tolerance.
_LEAST_SPREAD = 1e-4


def compare(
    expected_nk: NDArray[np.float32], found_nk: NDArray[np.float32], tolerance: float
) -> Parity:
    """Compare the logits of the same images.

    relative error = max |found - expected| / standard deviation of the expected logits, where
    each class's own mean over the images is taken off first: what is the same for all images
    tells nothing about them.

    Args:
        expected_nk: of the checkpoint, in FP32; at least one image.
        found_nk: of the artifact.
        tolerance: on the relative error, > 0.

    Returns:
        State "inconclusive" where the expected logits hardly depend on the image.

    Raises:
        ExportError: logits of another shape, or not finite.
    """
    if found_nk.shape != expected_nk.shape:
        raise ExportError(
            f"the artifact returns logits {list(found_nk.shape)}, its checkpoint "
            f"{list(expected_nk.shape)}"
        )
    if not (np.isfinite(expected_nk).all() and np.isfinite(found_nk).all()):
        raise ExportError("logits are not finite on real images: is the checkpoint trained?")
    wanted_nk, got_nk = expected_nk.astype(np.float64), found_nk.astype(np.float64)
    errors_nk = np.abs(got_nk - wanted_nk)
    error = float(errors_nk.max())
    centred_nk = wanted_nk - wanted_nk.mean(axis=0) if len(wanted_nk) > 1 else wanted_nk
    spread = float(centred_nk.std())
    vacuous = spread <= _LEAST_SPREAD * max(1.0, float(np.abs(wanted_nk).max()))
    relative = error / spread if spread > 0 else 0.0
    passed: State = "passed" if relative <= tolerance else "failed"
    return Parity(
        images=len(wanted_nk),
        max_error=error,
        mean_error=float(errors_nk.mean()),
        relative_error=relative,
        cosine=_least_cosine(wanted_nk, got_nk),
        top1_agreement_ratio=float((wanted_nk.argmax(axis=1) == got_nk.argmax(axis=1)).mean()),
        tolerance=tolerance,
        state="inconclusive" if vacuous else passed,
    )


def _least_cosine(wanted_nk: NDArray[np.float64], got_nk: NDArray[np.float64]) -> float:
    """Return the least cosine over the images, each image's logits centred."""
    one_nk = wanted_nk - wanted_nk.mean(axis=1, keepdims=True)
    other_nk = got_nk - got_nk.mean(axis=1, keepdims=True)
    lengths_n = np.linalg.norm(one_nk, axis=1) * np.linalg.norm(other_nk, axis=1)
    products_n = (one_nk * other_nk).sum(axis=1)
    cosines_n = np.divide(products_n, lengths_n, out=np.zeros_like(products_n), where=lengths_n > 0)
    return float(np.clip(cosines_n, -1.0, 1.0).min())
