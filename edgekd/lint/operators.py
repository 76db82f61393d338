"""Which operators TensorRT's ONNX parser knows, by version.

Source: docs/operators.md of onnx/onnx-tensorrt (Apache-2.0), branches 10.1 and 10.15, and its
change log for what came between and after.
"""

from edgekd.lint.model import Version

TABLES: tuple[Version, ...] = ((10, 1), (10, 15))

_TABLE_10_1 = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity If
ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow
QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round ScaledTanh Scan Scatter
ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
Unsqueeze Upsample Where Xor
"""
_SINCE: dict[str, Version] = {
    **dict.fromkeys(_TABLE_10_1.split(), (0, 0)),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (10, 4)),
    "STFT": (10, 5),
    "Attention": (10, 14),
    **dict.fromkeys(("RMSNormalization", "RotaryEmbedding", "TensorScatter"), (10, 15)),
    "Swish": (11, 0),
}


def table_for(version: Version) -> Version:
    """Return the version whose table is used: the newest that is not newer, or the oldest."""
    return max((table for table in TABLES if table <= version), default=TABLES[0])


def since(operator: str) -> Version | None:
    """Return the version that brought an operator, (0, 0) for long ago; None: unsupported."""
    return _SINCE.get(operator)


def opsets(version: Version) -> tuple[int, int, int]:
    """Return the first opset, the last that is documented, and the last that may be read."""
    if version < (9, 0):
        return 1, 17, 17
    if version < (10, 2):
        return 9, 20, 20
    return (9, 20, 24) if version < (10, 15) else (9, 24, 24)
