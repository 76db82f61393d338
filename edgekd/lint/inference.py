"""ONNX's shape inference over anybody's model, without the weights, which it copies thrice."""

import math

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

_LARGE = 1024  # numbers; whatever sizes are computed from is smaller
# Sizes are computed from whole numbers of 32 and 64 bits, and from a few factors of Resize.
_WEIGHTS = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.INT8, TensorProto.UINT8,
}  # fmt: skip


def infer(model: ModelProto) -> tuple[ModelProto, str]:
    """Return the model with the types and sizes that can be inferred, and what is wrong with it.

    Large weights have no values in what is returned.

    Returns:
        The model, and a line for each node at fault; "": none.
    """
    light = without_weights(model)
    try:
        return _infer(light, strict=True), ""
    except onnx.shape_inference.InferenceError as error:
        return _infer(light, strict=False), str(error)


def without_weights(model: ModelProto) -> ModelProto:
    """Return a copy in which large initialisers have type and sizes, and no values."""
    light = ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if tensor.data_type in _WEIGHTS and math.prod(tensor.dims) > _LARGE:
            for values in ("raw_data", "float_data", "double_data", "int32_data"):
                tensor.ClearField(values)
    return light


def _infer(model: ModelProto, *, strict: bool) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)
    except onnx.shape_inference.InferenceError:
        if strict:
            raise
        return model
    except (
        onnx.checker.ValidationError,
        RuntimeError, ValueError, TypeError, DecodeError, EncodeError, MemoryError,
    ):  # fmt: skip
        return model
