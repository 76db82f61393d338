"""Where an ONNX file is quantised: why a layer could run in INT8, or could not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.core.errors import UsageError

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# They move values, so that Q and DQ in front of them count for those behind.
_PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice")
_FEW, _MULTIPLE = 16, 4  # channels: fewer, or no multiple, suit no integer kernel
_STEPS = 100


@dataclass(frozen=True)
class Weighted:
    """A node with weights."""

    operator: str
    activation: bool  # reads Q and DQ
    weight: bool  # its weights do
    inputs: int  # channels; 0: not known
    outputs: int
    groups: int

    def reason(self) -> str:
        """Say why it may run in float."""
        sizes = f"{self.inputs} in, {self.outputs} out"
        reasons = {
            "no Q/DQ on it": not (self.activation or self.weight),
            "no Q/DQ on its input": not self.activation,
            "no Q/DQ on its weight": not self.weight,
            f"grouped ({self.groups} groups): seldom faster in INT8": self.groups > 1,
            f"few channels ({sizes})": 0 < min(self.inputs, self.outputs) < _FEW,
            f"channels are no multiple of {_MULTIPLE} ({sizes})": bool(
                self.inputs % _MULTIPLE or self.outputs % _MULTIPLE
            ),
        }
        chosen = "quantised, but TensorRT chose a float kernel"
        return next((reason for reason, holds in reasons.items() if holds), chosen)


def read_placement(path: Path) -> dict[str, Weighted]:
    """Return the nodes with weights of an ONNX file, by the name that TensorRT gives them.

    Raises:
        UsageError: it cannot be read or is no ONNX file.
    """
    import onnx  # half a second: only with --model
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise UsageError(f"'{path}' is not an ONNX file: {error}") from error
    producers = {name: node for node in model.graph.node for name in node.output if name}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {
        node.name or f"node_of_{node.output[0]}": _weighted(node, producers, shapes)
        for node in model.graph.node
        if node.op_type in _WEIGHTED and len(node.input) > 1 and node.output
    }


def _weighted(node: Any, producers: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> Weighted:
    numbers = {entry.name: entry.i for entry in node.attribute}
    groups = max(int(numbers.get("group", 1)), 1)
    shape = shapes.get(_origin(node.input[1], producers), ())
    outputs = inputs = 0
    if len(shape) > 1:
        turned = node.op_type in {"MatMul", "ConvTranspose"} or (
            node.op_type == "Gemm" and not numbers.get("transB", 0)
        )
        first, second = shape[:2] if "Conv" in node.op_type else shape[-2:]
        outputs, inputs = (second, first) if turned else (first, second)
    if node.op_type == "Conv":
        inputs *= groups
    elif node.op_type == "ConvTranspose":
        outputs *= groups
    return Weighted(
        node.op_type,
        activation=_behind_dq(node.input[0], producers),
        weight=_behind_dq(node.input[1], producers),
        inputs=inputs,
        outputs=outputs,
        groups=groups,
    )


def _behind_dq(tensor: str, producers: dict[str, Any]) -> bool:
    for _ in range(_STEPS):  # not for ever, should they stand in a circle
        node = producers.get(tensor)
        if node is None or node.op_type not in _PASSING or not node.input:
            return node is not None and node.op_type == "DequantizeLinear"
        tensor = node.input[0]
    return False


def _origin(tensor: str, producers: dict[str, Any]) -> str:
    """Return the constant behind Q, DQ and what moves values."""
    for _ in range(_STEPS):
        node = producers.get(tensor)
        if node is None or not node.input:
            break
        tensor = node.input[0]
    return tensor
