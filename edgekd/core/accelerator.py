"""What NVIDIA's deep learning accelerator (DLA) of Xavier and Orin takes.

Source: NVIDIA/Deep-Learning-Accelerator-SW, "Supported ONNX Operators on Orin DLA", column of
TensorRT, where Flatten is a Reshape; NVIDIA TensorRT documentation, "DLA Supported Layers and
Restrictions".
"""

LARGEST_BATCH, LARGEST_SIZE = 4096, 8192
OPERATORS = (
    "Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose",
    "Flatten", "Gemm", "LRN", "LeakyRelu", "MatMul", "Max", "MaxPool", "Mul", "PRelu", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Sub", "Sum", "Tanh", "Transpose",
)  # fmt: skip
