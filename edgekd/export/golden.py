"""Golden pairs: images as they are read, and the logits that an artifact gives for them.

They lie beside the artifact, so that a program on a device, with an engine of its own, can show
that it prepares images and computes as it should.
"""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files
from edgekd.core.errors import RecordError

FILE = "golden.npz"
PAIRS = 16


def write(path: Path, images_nhwc: NDArray[np.uint8], logits_nk: NDArray[np.float32]) -> None:
    """Write N pairs; the same pairs give the same bytes.

    Args:
        path: the file.
        images_nhwc: uint8 [N, H, W, C], before any normalisation.
        logits_nk: float32 [N, K], of the exported file.
    """
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, images=images_nhwc, logits=logits_nk)


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the images [N, H, W, C] and the logits [N, K].

    Raises:
        RecordError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images_nhwc, logits_nk = arrays["images"], arrays["logits"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise RecordError(f"'{path}' holds no golden pairs: {error}") from error
    kinds = (images_nhwc.dtype, images_nhwc.ndim, logits_nk.dtype, logits_nk.ndim)
    if kinds != (np.uint8, 4, np.float32, 2) or len(images_nhwc) != len(logits_nk):
        raise RecordError(
            f"'{path}' holds images {images_nhwc.dtype} {list(images_nhwc.shape)} and logits "
            f"{logits_nk.dtype} {list(logits_nk.shape)}; expected uint8 [N, H, W, C] and "
            "float32 [N, K]"
        )
    return images_nhwc, logits_nk
