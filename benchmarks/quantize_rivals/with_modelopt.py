"""NVIDIA's modelopt on an ONNX file, calibrated on the processor."""

from pathlib import Path
from typing import Any

import cell
import numpy as np
from modelopt.onnx.quantization import quantize
from numpy.typing import NDArray


def quantise(
    source: Path, images_nchw: NDArray[np.float32], out: Path, setting: dict[str, Any]
) -> None:
    quantize(
        str(source),
        quantize_mode="int8",
        calibration_data={"images": images_nchw},
        calibration_eps=["cpu"],
        output_path=str(out),
        log_level="ERROR",
        **setting,
    )


if __name__ == "__main__":
    cell.main(quantise, "nvidia-modelopt", "onnx", "onnxruntime")
