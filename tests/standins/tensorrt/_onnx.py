"""What of ONNX the parser takes: operators, types, and the rules for Q and DQ."""

from dataclasses import dataclass
from typing import Any

from ._callbacks import ENUMS
from ._facts import MAJOR

QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
# Of the operators that networks for images could hold, those that TensorRT's parser lacks.
_UNSUPPORTED = (
    "BitShift Col2Im Compress ConvInteger Det DynamicQuantizeLinear ImageDecoder "
    "MatMulInteger MaxRoiPool MaxUnpool Multinomial Optional QLinearConv QLinearMatMul "
    "SequenceAt SequenceConstruct SplitToSequence StringNormalizer Unique AffineGrid "
    "CenterCropPad"
)


@dataclass(frozen=True)
class Fault:
    code: str
    text: str


def element_types() -> dict[int, Any]:
    """Return ONNX's element type -> DataType."""
    from onnx import TensorProto as Onnx

    kinds = ENUMS["DataType"]
    types = {
        Onnx.FLOAT: kinds.FLOAT,
        Onnx.FLOAT16: kinds.HALF,
        Onnx.INT8: kinds.INT8,
        Onnx.INT32: kinds.INT32,
        Onnx.BOOL: kinds.BOOL,
        Onnx.UINT8: kinds.UINT8,
        Onnx.INT64: kinds.INT64 if MAJOR >= 10 else kinds.INT32,
    }
    return types | ({Onnx.BFLOAT16: kinds.BF16} if MAJOR >= 10 else {})


def supported(operator: str) -> bool:
    from onnx import defs

    return operator not in _UNSUPPORTED.split() and defs.has(operator)


def fault_of(node: Any, graph: Any) -> Fault | None:
    """Return why the parser refuses a node; None: it takes it."""
    if node.domain not in {"", "ai.onnx"} or not supported(node.op_type):
        return Fault("UNSUPPORTED_NODE", f"No importer for operator {node.op_type}")
    if node.op_type not in {QUANTISE, DEQUANTISE}:
        return None
    stored = {one.name: one for one in graph.initializer}
    if node.op_type == DEQUANTISE and (held := stored.get(node.input[0])) is not None:
        from onnx import TensorProto as Onnx

        if held.data_type not in {Onnx.INT8, Onnx.FLOAT8E4M3FN, Onnx.INT4}:
            return Fault("INVALID_NODE", "DequantizeLinear takes INT8, FP8 or INT4 data")
    return _scale_fault(node, stored)


def _scale_fault(node: Any, stored: dict[str, Any]) -> Fault | None:
    from onnx import TensorProto, numpy_helper

    scale = stored.get(node.input[1])
    if scale is not None and not (numpy_helper.to_array(scale).astype("float32") > 0).all():
        return Fault("INVALID_NODE", "Scale coefficients must all be positive")
    if len(node.input) < 3 or not node.input[2]:
        return None
    zero = stored.get(node.input[2])
    if zero is None:
        return Fault("INVALID_NODE", "The zero point must be constant")
    if zero.data_type == TensorProto.UINT8:
        return Fault("UNSUPPORTED_NODE_DATATYPE", "The zero point must not be UINT8")
    if numpy_helper.to_array(zero).astype("int64").any():
        return Fault("INVALID_NODE", "Only symmetric quantization is supported: zero points are 0")
    return None
