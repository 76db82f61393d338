"""Small float ONNX graphs, and what ONNX Runtime makes of a model."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.export.target import Target

INT8 = Target.read("onnx-int8")
TENSORRT = Target.read("tensorrt-int8")


def with_rules(target: Target, **rules: Any) -> Target:
    """Return the target with other rules of what is quantised."""
    return target.model_copy(update={"quantise": target.quantise.model_copy(update=rules)})


class Builder:
    """Appends nodes; each method returns the tensor that its node computes."""

    def __init__(self, channels: int = 16, pixels: int = 8, opset: int = 17) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.shape: tuple[str | int, ...] = ("batch", channels, pixels, pixels)
        self.opset = opset

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        module = name or f"m{len(self.nodes)}"
        tensor = f"{module}/{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), [tensor], tensor, **attributes))
        return tensor

    def weight(self, name: str, *shape: int) -> str:
        fan = max(1, int(np.prod(shape[1:])))
        value = self.random.standard_normal(shape) * np.sqrt(2 / fan)
        return self.constant(name, value.astype(np.float32))

    def conv(
        self, x: str, inputs: int, outputs: int, kernel: int = 3, name: str = "", **attributes: Any
    ) -> str:
        module = name or f"conv{len(self.nodes)}"
        group = attributes.get("group", 1)
        weight = self.weight(f"{module}.weight", outputs, inputs // group, kernel, kernel)
        bias = self.weight(f"{module}.bias", outputs)
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", x, weight, bias, name=module, **attributes)

    def head(self, x: str, inputs: int, outputs: int = 20) -> str:
        pooled = self.node("Flatten", self.node("GlobalAveragePool", x))
        weight = self.weight("head.weight", outputs, inputs)
        bias = self.weight("head.bias", outputs)
        return self.node("Gemm", pooled, weight, bias, name="head", transB=1)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        name = f"linear{len(self.nodes)}"
        weight, bias = self.weight(f"{name}.weight", outputs, inputs), self.weight(name, outputs)
        return self.node("Gemm", x, weight, bias, name=name, transB=1)

    def model(self, output: str) -> ModelProto:
        self.nodes[-1].output[0] = "logits"
        assert output.startswith(self.nodes[-1].name)
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model).graph.output[0]
        model.graph.output[0].CopyFrom(inferred)
        onnx.checker.check_model(model, full_check=True)
        return model


def plain() -> ModelProto:
    """conv, relu, conv, relu, head: no branches."""
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="conv1"), name="relu1")
    x = b.node("Relu", b.conv(x, 16, 16, name="conv2"), name="relu2")
    return b.model(b.head(x, 16))


def residual() -> ModelProto:
    """Two basic blocks; the second has a convolution in its shortcut."""
    b = Builder()
    stem = b.node("Relu", b.conv("images", 16, 16, name="stem"), name="relu0")
    x = b.node("Relu", b.conv(stem, 16, 16, name="a1"), name="relu1")
    x = b.node("Add", b.conv(x, 16, 16, name="a2"), stem, name="add_a")
    block = b.node("Relu", x, name="relu2")
    x = b.node("Relu", b.conv(block, 16, 32, name="b1", strides=[2, 2]), name="relu3")
    x = b.conv(x, 32, 32, name="b2")
    skip = b.conv(block, 16, 32, kernel=1, name="down", strides=[2, 2])
    x = b.node("Relu", b.node("Add", x, skip, name="add_b"), name="relu4")
    return b.model(b.head(x, 32))


def inception() -> ModelProto:
    """Three branches, one through a pooling, are concatenated and read by a convolution."""
    b = Builder()
    x = b.node("Relu", b.conv("images", 16, 16, name="stem"), name="relu0")
    one = b.node("Relu", b.conv(x, 16, 16, name="one", kernel=1), name="relu1")
    three = b.node("Relu", b.conv(x, 16, 16, name="three"), name="relu2")
    pool = b.node("MaxPool", x, name="pool", kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    x = b.node("Concat", one, three, pool, name="concat", axis=1)
    x = b.node("Relu", b.conv(x, 48, 16, name="after"), name="relu3")
    return b.model(b.head(x, 16))


def inverted() -> ModelProto:
    """MobileNetV2's block: ReLU6, a convolution of each channel for itself, no ReLU at the end."""
    b = Builder()
    low = b.constant("low", np.float32(0))
    high = b.constant("high", np.float32(6))
    x = b.conv("images", 16, 32, kernel=1, name="expand")
    x = b.node("Clip", x, low, high, name="relu6")
    x = b.node("Clip", b.conv(x, 32, 32, name="depth", group=32), low, high, name="relu6b")
    x = b.node("Add", b.conv(x, 32, 16, kernel=1, name="project"), "images", name="add")
    x = b.node("Relu", b.conv(x, 16, 16, name="last"), name="relu")
    return b.model(b.head(x, 16))


def excited() -> ModelProto:
    """Squeeze and excitation with HardSigmoid, then HardSwish: operators without INT8 kernels."""
    b = Builder()
    x = b.node("HardSwish", b.conv("images", 16, 16, name="stem"), name="swish")
    squeeze = b.node("GlobalAveragePool", x, name="squeeze")
    gate = b.node("Relu", b.conv(squeeze, 16, 16, kernel=1, name="fc1"), name="relu")
    gate = b.node("HardSigmoid", b.conv(gate, 16, 16, kernel=1, name="fc2"), name="gate")
    x = b.node("Mul", x, gate, name="scale")
    x = b.conv(x, 16, 16, name="project")
    return b.model(b.head(x, 16))


def preactivation() -> ModelProto:
    """A block that adds what stands before its ReLU, and two linear layers without one between."""
    b = Builder()
    x = b.conv("images", 16, 16, name="stem")
    y = b.conv(b.node("Relu", x, name="relu"), 16, 16, name="branch")
    x = b.node("Relu", b.node("Add", y, x, name="add"), name="relu2")
    return b.model(b.linear(b.head(x, 16, outputs=32), 32, 20))


ALL = {
    "preactivation": preactivation,
    "plain": plain,
    "residual": residual,
    "inception": inception,
    "inverted": inverted,
    "excited": excited,
}


def images(model: ModelProto, count: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Return standard normal images for a model."""
    sizes = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return np.random.default_rng(seed).standard_normal((count, *sizes), dtype=np.float32)


def session(model: ModelProto, *, fused: bool = True, saved: Path | None = None) -> Any:
    """Open a model; not fused: Q and DQ are computed as they stand, in floating point."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    if saved is not None:
        options.optimized_model_filepath = str(saved)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: ModelProto, images_nchw: NDArray[np.float32], *, fused: bool = True) -> Any:
    """Return a model's logits [N, K]."""
    return session(model, fused=fused).run(None, {"images": images_nchw})[0]


def tensors(model: ModelProto, names: list[str], images_nchw: NDArray[np.float32]) -> Any:
    """Return the values of tensors inside a model."""
    watched = ModelProto.FromString(model.SerializeToString())
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    values = session(watched).run(names, {"images": images_nchw})
    return dict(zip(names, values, strict=True))


def ranges(
    model: ModelProto, names: list[str], images_nchw: NDArray[np.float32]
) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value of tensors, the input among them."""
    inside = [name for name in names if name != "images"]
    values = {"images": images_nchw, **tensors(model, inside, images_nchw)}
    return {name: (float(values[name].min()), float(values[name].max())) for name in names}


def optimised(model: ModelProto, folder: Path) -> Counter[str]:
    """Count the operators of the graph that ONNX Runtime in fact computes."""
    path = folder / "optimised.onnx"
    session(model, saved=path)
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)
