"""What breaks each rule, and what does not: ID and a word -> how to make the graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto

from edgekd.lint.run import every_rule
from tests.lint.graphs import Net, half, sound

RULES = {rule.id: rule for rule in every_rule()}
ELSEWHERE = {"Q023", "D001", "D002"}  # they need options, and have tests of their own


def changed(change: Callable[[Net], Any]) -> Net:
    net = sound()
    change(net)
    return net


def drop_input(node: NodeProto, index: int) -> None:
    del node.input[index:]


def unwritten_axis() -> Net:
    net = sound()
    del net.find("c1.w").attribute[:]
    return net


def skip_dequantise(net: Net) -> None:
    net.find("c2").input[0] = "c2.x.q"


def transposed(axis: int, group: int = 1) -> Net:
    net = Net().pair("x", "xq").weights("w", 16, 16 // group, 2, 2, axis=axis)
    return net.node("ConvTranspose", "xq w", "y", group=group)


def gemm(axis: int, *, turned: int) -> Net:
    net = Net(shape=(1, 16)).pair("x", "xq").weights("w", 16, 16, axis=axis)
    return net.node("Gemm", "xq w", "y", transB=turned)


def before_relu() -> Net:
    return Net().conv("x", "c").pair("c", "cq").node("Relu", "cq", "y")


def normalised() -> Net:
    net = Net().conv("x", "c")
    for name in ("g", "b", "m", "v"):
        net.put(name, np.ones(16))
    return net.node("BatchNormalization", "c g b m v", "y")


def float_and_quantised() -> Net:
    net = Net().pair("x", "xq").node("Relu", "x", "r")
    return net.node("Add", "r xq", "y")


def both_quantised() -> Net:
    net = Net().conv("x", "c").pair("c", "cq").pair("x", "skip")
    return net.node("Add", "cq skip", "y")


def concatenated(scale: float) -> Net:
    net = Net().node("Relu", "x", "r").pair("x", "a").pair("r", "b", scale)
    return net.node("Concat", "a b", "y", axis=1)


def pooled(scale: float) -> Net:
    net = Net().pair("x", "a").node("MaxPool", "a", "p", kernel_shape=[2, 2])
    return net.pair("p", "y", scale)


def float_weights(largest: float) -> Net:
    """Weights that are quantised in the graph, with a scale for values up to 1.27."""
    net = Net().pair("x", "xq").floats("w.float", 16, 16, 3, 3)
    weights = np.clip(net.constants["w.float"], -1.27, 1.27)
    weights[:, 0, 0, 0] = largest
    net.put("w.float", weights)
    net.put("w.scale", np.full(16, 0.01)).put("w.zero", [0] * 16, np.int8)
    net.node("QuantizeLinear", "w.float w.scale w.zero", "w.q", axis=0)
    net.node("DequantizeLinear", "w.q w.scale w.zero", "w", axis=0)
    return net.node("Conv", "xq w", "y")


def one_scale_for_all() -> Net:
    net = Net().pair("x", "xq").put("w.int", np.full((16, 16, 3, 3), 100), np.int8)
    net.put("s", 0.01).put("z", 0, np.int8).node("DequantizeLinear", "w.int s z", "w")
    return net.node("Conv", "xq w", "y")


def with_copy(error: float) -> Net:
    net = sound()
    return net.put("c1.w.float", net.constants["c1.w.int"] * 0.01 + error)


def bias_of_int32() -> Net:
    net = sound().put("b.int", [5] * 16, np.int32).put("b.scale", 0.1)
    net.node("DequantizeLinear", "b.int b.scale", "bias")
    net.find("c1").input[2] = "bias"
    return net


def small_channels() -> Net:
    return Net(shape=(1, 4, 8, 8)).conv("x", "c", 4, 12).conv("c", "y", 12, 12)


def plain(kind: str, **attributes: Any) -> Net:
    return Net().node(kind, "x", "y", **attributes)


def resize(**attributes: Any) -> Net:
    net = Net(opset=18).put("scales", [1, 1, 2, 2])
    return net.node("Resize", "x  scales", "y", **attributes)


def computed_weights() -> Net:
    return Net().node("Conv", "x x", "y")


def half_scale(opset: int, scale: Any = np.float16) -> Net:
    net = half()
    net.opset = opset
    net.put("s", 0.02, scale).put("z", 0, np.int8)
    return net.node("QuantizeLinear", "x s z", "q").node("DequantizeLinear", "q s z", "d")


def scalar() -> Net:
    return Net(shape=()).pair("x", "y")


def opset(number: int) -> Net:
    net = sound()
    net.opset = number
    return net


def nameless() -> Net:
    net = sound()
    net.nodes[-1].name = ""
    return net


def same_names() -> Net:
    net = sound()
    net.find("r1").name = "c1"
    return net


def external(net: Net, place: str) -> Net:
    model = net.model()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    net.model = lambda: model
    return net


def integers(dtype: Any, value: int) -> Net:
    return sound().put("big", [value], dtype)


BAD = {
    "Q001 not zero": lambda: sound().put("c1.x.zero", 3, np.int8),
    "Q001 computed": lambda: changed(lambda net: net.node("Cast", "x", "c1.w.zero", to=3)
                                     and net.constants.pop("c1.w.zero")),
    "Q002 uint8": lambda: sound().put("c1.x.zero", 0, np.uint8),
    "Q002 missing": lambda: changed(lambda net: drop_input(net.find("c1.w"), 2)),
    "Q002 int16": lambda: sound().put("c1.x.zero", 0, np.int16),
    "Q003 zero": lambda: sound().put("c1.x.scale", 0),
    "Q003 negative": lambda: sound().put("c1.x.scale", -1),
    "Q003 infinite": lambda: sound().put("c1.x.scale", np.inf),
    "Q003 subnormal": lambda: sound().put("c1.x.scale", 1e-40),
    "Q003 empty": lambda: sound().put("c1.x.scale", []),
    "Q003 computed": lambda: changed(lambda net: net.constants.pop("c1.x.scale")),
    "Q004": lambda: sound().put("c1.x.scale", [0.1] * 16).put("c1.x.zero", [0] * 16, np.int8),
    "Q005 scales": lambda: sound().put("c1.w.scale", [0.1] * 8).put("c1.w.zero", [0] * 8, np.int8),
    "Q005 zero points": lambda: sound().put("c1.w.zero", [0] * 8, np.int8),
    "Q005 axis": lambda: changed(lambda net: setattr(net.find("c1.w").attribute[0], "i", 7)),
    "Q006 conv": lambda: changed(lambda net: setattr(net.find("c1.w").attribute[0], "i", 1)),
    "Q006 transposed": lambda: transposed(0),
    "Q006 in groups": lambda: transposed(1, group=2),
    "Q006 gemm": lambda: gemm(0, turned=0),
    "Q007": unwritten_axis,
    "Q008": bias_of_int32,
    "Q009": lambda: sound().node("QLinearConv", "a b c d e f g h", "z"),
    "Q009 dynamic": lambda: sound().node("DynamicQuantizeLinear", "x", "z u v"),
    "Q010 channels": lambda: opset(12),
    "Q010 half": lambda: half_scale(17),
    "Q011 operands": lambda: sound().put("c1.b", [0] * 16, np.float16),
    "Q011 scale": lambda: half_scale(19, np.float32),
    "Q012": lambda: changed(skip_dequantise),
    "Q012 dangling": lambda: sound().node("QuantizeLinear", "x c1.x.scale c1.x.zero", "z"),
    "Q013 weights": lambda: sound().floats("c1.w2", 16, 16, 3, 3).node("Conv", "c1.x c1.w2", "z"),
    "Q014": lambda: sound().floats("w2", 16, 16, 3, 3).node("Conv", "x w2", "z"),
    "Q015": before_relu,
    "Q016": normalised,
    "Q017 one float": float_and_quantised,
    "Q017 both": both_quantised,
    "Q018": lambda: concatenated(0.1),
    "Q019 two scales": lambda: sound().pair("x", "again", 0.5),
    "Q019 in a row": lambda: sound().pair("c1.x", "again"),
    "Q020": lambda: pooled(0.1),
    "Q021": small_channels,
    "Q022": sound,
    "Q022 depthwise": lambda: Net().conv("x", "y", group=16),
    "Q024 clipped": lambda: float_weights(1.4),
    "Q024 few steps": lambda: sound().put("c1.w.int", np.full((16, 16, 3, 3), 20), np.int8),
    "Q024 one scale": one_scale_for_all,
    "Q025": scalar,
    "Q026": lambda: with_copy(0.001),
    "T001": lambda: plain("Det"),
    "T001 later": lambda: plain("Attention"),
    "T001 foreign": lambda: plain("Quant", domain="somebody"),
    "T002 late": lambda: opset(25),
    "T002 early": lambda: opset(8),
    "T003": lambda: Net().node("MaxPool", "x", "y i", kernel_shape=[2, 2]),
    "T004 1D": lambda: plain("AveragePool", kernel_shape=[2]),
    "T004 dilated": lambda: plain("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    "T005": lambda: resize(antialias=1),
    "T005 cropped": lambda: resize(coordinate_transformation_mode="tf_crop_and_resize"),
    "T005 cubic": lambda: resize(mode="cubic"),
    "T006": lambda: integers(np.float64, 1),
    "T007": lambda: Net(shape=("n", 3, "h", 8)).node("Relu", "x", "y"),
    "T007 rank": lambda: Net(shape=None).node("Relu", "x", "y"),
    "T007 batch": lambda: Net(shape=("n", 3, 8, 8)).node("Relu", "x", "y"),
    "T008": computed_weights,
    "T009": nameless,
    "T009 twice": same_names,
    "T010 outside": lambda: external(sound(), "../../etc/passwd"),
    "T010 absolute": lambda: external(sound(), "/etc/passwd"),
    "T010 missing": lambda: external(sound(), "nothing.bin"),
    "T011": lambda: plain("Dropout"),
    "T011 identity": lambda: plain("Identity"),
    "T012 nobody makes": lambda: Net().node("Add", "x nowhere", "y"),
    "T012 no output": lambda: Net().node("Relu", "x", "z"),
    "T012 lacks an input": lambda: Net().node("MatMul", "x", "y"),
    "T012 sizes": lambda: Net().floats("w", 5, 5).node("MatMul", "x w", "y"),
}  # fmt: skip
GOOD = {
    **{rule: sound for rule in RULES if rule not in {"Q022", *ELSEWHERE}},
    "Q006 transposed": lambda: transposed(1),
    "Q006 gemm": lambda: gemm(0, turned=1),
    "Q010 half": lambda: half_scale(19),
    "Q011 half": lambda: half_scale(19),
    "Q018": lambda: concatenated(0.02),
    "Q020": lambda: pooled(0.02),
    "Q022": lambda: plain("Relu"),
    "Q024": lambda: float_weights(1.27),
    "Q026 other values": lambda: with_copy(0.5),
    "T005": lambda: resize(mode="linear"),
    "T006 small": lambda: integers(np.int64, 5),
    "T011 folded": lambda: sound().put("one", 1).node("Identity", "one", "two"),
    "T012 a plugin": lambda: plain("EfficientNMS_TRT"),
    "T012 left out": lambda: Net().put("most", 6).node("Clip", "x  most", "y"),
}
