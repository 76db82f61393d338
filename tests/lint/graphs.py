"""Small graphs for the rules: a sound one, and what breaks it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Change = Callable[["Net"], None]
IMAGES = (1, 16, 8, 8)


class Net:
    """A graph in the making; images are called x, the output y."""

    def __init__(self, opset: int = 17, shape: tuple[Any, ...] = IMAGES, dtype: int = 1) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.opset = opset
        self.input = helper.make_tensor_value_info("x", dtype, shape)
        self.output = helper.make_tensor_value_info("y", dtype, None)

    def node(self, kind: str, inputs: str, output: str, **attributes: Any) -> "Net":
        name = attributes.pop("name", output)
        made = helper.make_node(kind, inputs.split(" "), output.split(" "), name, **attributes)
        self.nodes.append(made)
        return self

    def put(self, name: str, value: Any, dtype: Any = np.float32) -> "Net":
        self.constants[name] = np.asarray(value, dtype)
        return self

    def floats(self, name: str, *shape: int) -> "Net":
        return self.put(name, self.random.standard_normal(shape))

    def pair(self, x: str, name: str, scale: float = 0.02) -> "Net":
        """Quantise the activation x and give it back as ``name``."""
        self.put(f"{name}.scale", scale).put(f"{name}.zero", 0, np.int8)
        self.node("QuantizeLinear", f"{x} {name}.scale {name}.zero", f"{name}.q")
        return self.node("DequantizeLinear", f"{name}.q {name}.scale {name}.zero", name)

    def weights(self, name: str, *shape: int, axis: int = 0) -> "Net":
        """Store weights as INT8 with a scale for each channel along ``axis``."""
        values = self.random.integers(-127, 128, shape)
        count = shape[axis]
        self.put(f"{name}.int", values, np.int8)
        self.put(f"{name}.scale", np.full(count, 0.01)).put(f"{name}.zero", [0] * count, np.int8)
        inputs = f"{name}.int {name}.scale {name}.zero"
        return self.node("DequantizeLinear", inputs, name, axis=axis)

    def conv(self, x: str, y: str, inputs: int = 16, outputs: int = 16, **more: Any) -> "Net":
        """A quantised convolution of 3 x 3 behind a new pair."""
        self.pair(x, f"{y}.x")
        self.weights(f"{y}.w", outputs, inputs // more.get("group", 1), 3, 3)
        self.floats(f"{y}.b", outputs)
        return self.node("Conv", f"{y}.x {y}.w {y}.b", y, pads=[1] * 4, **more)

    def find(self, name: str) -> NodeProto:
        return next(node for node in self.nodes if node.name == name)

    def model(self) -> ModelProto:
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "net", [self.input], [self.output], constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )


def sound() -> Net:
    """Two quantised convolutions with their activations, the second added to its input."""
    net = Net().conv("x", "c1").node("Relu", "c1", "r1")
    net.conv("r1", "c2").node("Add", "c2 c2.x", "sum").node("Relu", "sum", "y")
    return net


def half() -> Net:
    """A convolution in half precision."""
    net = Net(dtype=TensorProto.FLOAT16)
    net.put("w", net.random.standard_normal((16, 16, 3, 3)), np.float16)
    return net.node("Conv", "x w", "y")
