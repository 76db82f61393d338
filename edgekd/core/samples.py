"""The single latencies of a measurement, which lie beside its record."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import records
from edgekd.core.errors import RecordError
from edgekd.core.measured import Measurement

_BLOCKS_AND_RUNS = 2  # axes


def read(folder: Path, measured: Measurement) -> dict[str, NDArray[np.float64]]:
    """Return each artifact's latencies in ms, [blocks, runs].

    Args:
        folder: of the measurement's record.
        measured: the record.

    Raises:
        RecordError: the file is missing, was changed, or leaves an artifact out.
    """
    path = folder / measured.samples_file
    records.check_file(path, measured.samples_sha256)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {timing.subject: file[timing.subject] for timing in measured.timings}
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise RecordError(
            f"'{path.name}' does not hold every artifact's samples: {error}"
        ) from error
    for name, samples in found.items():
        is_table = samples.ndim == _BLOCKS_AND_RUNS and samples.size and samples.dtype.kind == "f"
        if not is_table or not (np.isfinite(samples) & (samples > 0)).all():
            raise RecordError(
                f"'{path.name}' must hold finite times above 0 in blocks and runs, but those of "
                f"'{name}' are {samples.dtype} of shape {samples.shape}, or not all such times: "
                "measure again"
            )
    return found
