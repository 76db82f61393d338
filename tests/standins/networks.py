"""Small ONNX files for the stand-ins, and the calls that turn one into a plan."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(path: Path, nodes: list[Any], stored: dict[str, Any], **shapes: Any) -> Path:
    """Write a model of input x and output y (float32; ``x=`` and ``y=`` give their shapes)."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def convolution(folder: Path, batch: int | str = 2) -> Path:
    """Write Conv and Relu: x [batch, 3, 8, 8] -> y [batch, 4, 8, 8]."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("float32")
    return save(folder / "conv.onnx", nodes, {"w": weights}, x=[batch, 3, 8, 8], y=[batch, 4, 8, 8])


def quantised(folder: Path, zero_point: int = 0, kind: str = "int8") -> Path:
    """Write Q, DQ and Relu: x [2, 3] -> y [2, 3]."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dq"),
        helper.make_node("Relu", ["d"], ["y"], "relu"),
    ]
    stored = {"s": np.float32(0.5), "z": np.array(zero_point, kind)}
    return save(folder / "quantised.onnx", nodes, stored, x=[2, 3], y=[2, 3])


class Log:
    """What a logger was told: (severity, text)."""

    def __init__(self, trt: ModuleType) -> None:
        self.lines: list[tuple[str, str]] = []

        class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
            def __init__(own) -> None:  # noqa: N805
                trt.ILogger.__init__(own)

            def log(own, severity: Any, msg: str) -> None:  # noqa: N805
                self.lines.append((severity.name, msg))

        self.logger = Logger()

    @property
    def errors(self) -> str:
        return "\n".join(text for severity, text in self.lines if severity == "ERROR")


class Build:
    """A builder with a parsed network: what every build begins with."""

    def __init__(self, trt: ModuleType, path: Path, *, strong: bool = False) -> None:
        self.trt, self.log = trt, Log(trt)
        self.builder = trt.Builder(self.log.logger)
        kinds = trt.NetworkDefinitionCreationFlag
        wanted = ["EXPLICIT_BATCH", *(["STRONGLY_TYPED"] if strong else [])]
        self.network = self.builder.create_network(
            sum(1 << int(getattr(kinds, name)) for name in wanted if hasattr(kinds, name))
        )
        self.parser = trt.OnnxParser(self.network, self.log.logger)
        self.parsed = self.parser.parse_from_file(str(path))
        self.config = self.builder.create_builder_config()

    def flag(self, *names: str) -> "Build":
        for name in names:
            self.config.set_flag(getattr(self.trt.BuilderFlag, name))
        return self

    def profile(self, least: Any, usual: Any, most: Any) -> int:
        profile = self.builder.create_optimization_profile()
        profile.set_shape("x", least, usual, most)
        return int(self.config.add_optimization_profile(profile))

    def plan(self) -> Any:
        return self.builder.build_serialized_network(self.network, self.config)

    def engine(self) -> Any:
        return self.trt.Runtime(self.log.logger).deserialize_cuda_engine(self.plan())
