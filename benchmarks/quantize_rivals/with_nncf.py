"""NNCF's post-training quantisation of an ONNX file."""

from pathlib import Path
from typing import Any

import cell
import nncf
import numpy as np
import onnx
from numpy.typing import NDArray


def quantise(
    source: Path, images_nchw: NDArray[np.float32], out: Path, setting: dict[str, Any]
) -> None:
    model = onnx.load(source)
    images = nncf.Dataset([{"images": image[None]} for image in images_nchw])
    quantised = nncf.quantize(
        model,
        images,
        preset=nncf.QuantizationPreset(setting["preset"]),
        fast_bias_correction=setting.get("fast_bias_correction", True),
        subset_size=len(images_nchw),
    )
    onnx.save(quantised, out)


if __name__ == "__main__":
    cell.main(quantise, "nncf", "onnx", "onnxruntime")
