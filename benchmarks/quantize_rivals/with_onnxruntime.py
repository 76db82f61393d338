"""ONNX Runtime's own ``quantize_static``, with Q/DQ and weights quantised by channel."""

from pathlib import Path
from typing import Any

import cell
import numpy as np
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.shape_inference import quant_pre_process

BATCH = 32
# TensorRT takes zero-points of 0 and biases in float only.
SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands out the images, batch by batch."""

    def __init__(self, images_nchw: NDArray[np.float32]) -> None:
        parts = (images_nchw[i : i + BATCH] for i in range(0, len(images_nchw), BATCH))
        self._left = ({"images": part} for part in parts)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch; None: there is no more."""
        return next(self._left, None)


def quantise(
    source: Path, images_nchw: NDArray[np.float32], out: Path, setting: dict[str, Any]
) -> None:
    symmetric = setting.get("symmetric", False)
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared)
    quantization.quantize_static(
        prepared,
        out,
        Reader(images_nchw),
        per_channel=True,
        reduce_range=setting.get("reduce_range", False),  # weights of 7 bits
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        calibrate_method=CalibrationMethod[setting["calibrator"]],
        extra_options=SYMMETRIC if symmetric else {},
    )
    prepared.unlink()


if __name__ == "__main__":
    cell.main(quantise, "onnx", "onnxruntime")
