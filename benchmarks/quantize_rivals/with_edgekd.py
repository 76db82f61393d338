"""edgekd, as ``edgekd export`` does it after it has written the float file."""

from pathlib import Path
from typing import Any

import cell
import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.export import qdq
from edgekd.export.target import Target
from edgekd.quantize import ranges

BATCH = 32


def quantise(
    source: Path, images_nchw: NDArray[np.float32], out: Path, setting: dict[str, Any]
) -> None:
    target = Target.read(setting["target"])
    if "weight_bits" in setting:
        changed = target.quantise.model_copy(update={"weight_bits": setting["weight_bits"]})
        target = target.model_copy(update={"quantise": changed})
    prepared = qdq.prepare(onnx.load(source), target)
    plan = qdq.place(prepared, target)
    batches = (images_nchw[i : i + BATCH] for i in range(0, len(images_nchw), BATCH))
    found = ranges.calibrate(source, list(plan.tensors), batches, setting["calibrator"])
    onnx.save(qdq.write(prepared, plan, found, target), out)


if __name__ == "__main__":
    cell.main(quantise, "edgekd", "onnx", "onnxruntime")
