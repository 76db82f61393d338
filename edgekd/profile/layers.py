"""Read what TensorRT's inspector says of an engine's layers, and what they do.

Source: NVIDIA TensorRT documentation, IEngineInspector, with the changes of version 11.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from edgekd.agent.layers import Profile, Times, parse_profile, parse_times
from edgekd.agent.protocol import AgentError
from edgekd.core.errors import UsageError

Role = Literal["weighted", "reformat", "quantise", "pointwise", "other"]

# How the versions spell element types; the first that is found counts.
_TYPES = (
    ("bf16", "bf16"), ("bfloat", "bf16"), ("fp8", "fp8"), ("e4m3", "fp8"), ("uint8", "uint8"),
    ("int8", "int8"), ("int4", "int4"), ("fp4", "fp4"), ("half", "fp16"), ("fp16", "fp16"),
    ("float16", "fp16"), ("float", "fp32"), ("fp32", "fp32"), ("int32", "int32"),
    ("int64", "int64"), ("bool", "bool"),
)  # fmt: skip
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PAIRED = ("QuantizeLinear", "DequantizeLinear")
_ARITHMETIC = re.compile(
    r"conv(?!ert)|gemm|matrixmultiply|matmul|fullyconnected|fprop|mha", re.IGNORECASE
)
_GENERATED = ("kgen", "fusion", "Myelin", "")  # one type for whatever was fused
_COPY = re.compile(r"^Reformatting CopyNode|^copied_| copy$")
_POINTWISE = re.compile(r"pointwise|elementwise|activation|unary|kgen", re.IGNORECASE)
_INTEGER_KERNEL = re.compile(r"i8i8|i8f|int8|i8816|i16832", re.IGNORECASE)


@dataclass(frozen=True)
class Tensor:
    """An input or output of a layer."""

    name: str
    dtype: str  # int8, fp16, fp32 and so on; "": not said
    layout: str  # in TensorRT's words
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of an engine: mostly several nodes of the ONNX file, fused."""

    name: str
    kind: str  # TensorRT's LayerType; "": only the name is known
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]  # of the ONNX file
    weights: str  # element type of the weights; "": none, or not said
    tactic: str
    origin: str  # "QDQ", "REFORMAT": why a Reformat is there

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """The operators of the nodes, as far as their names tell."""
        return tuple(filter(None, map(operator_of, self.nodes)))

    @cached_property
    def role(self) -> Role:
        """What the layer does, as far as its type and name tell."""
        computes = bool(self.weights or _ARITHMETIC.search(self.kind))
        paired = bool(self.nodes) and all(operator_of(node) in _PAIRED for node in self.nodes)
        if self.origin == "QDQ" or (paired and not computes):
            return "quantise"
        if self.kind in {"Reformat", "NoOp"} or _COPY.search(self.name):
            return "reformat"
        if computes or self._computes_weights():
            return "weighted"
        pointwise = _POINTWISE.search(self.kind) or self.name.startswith("PWN(")
        return "pointwise" if pointwise else "other"

    def _computes_weights(self) -> bool:
        if self.kind not in _GENERATED and not self.kind.startswith("Myelin"):
            return False
        known = set(self.operators) & set(_WEIGHTED)
        return bool(known) and (self.kind != "kgen" or bool(_ARITHMETIC.search(self.tactic)))

    @cached_property
    def integer_kernel(self) -> bool:
        """Whether the kernel's name says that it multiplies integers."""
        return self.role == "weighted" and bool(_INTEGER_KERNEL.search(self.tactic))

    @cached_property
    def precision(self) -> str:
        """The type that it computes in: of its weights, kernel or first tensor; "": not said."""
        if self.weights:
            return self.weights
        if self.integer_kernel:
            return "int8"
        return next((tensor.dtype for tensor in (*self.inputs, *self.outputs)), "")


@dataclass(frozen=True)
class Engine:
    """The layers of an engine in the order in which they run."""

    layers: tuple[Layer, ...]
    detailed: bool  # False: built without detailed profiling verbosity; only names are known
    raw: dict[str, Any]  # the file

    def producer(self, tensor: str) -> Layer | None:
        """Return the layer that writes a tensor; None: an input of the engine."""
        return self._producers.get(tensor)

    def readers(self, tensor: str) -> list[Layer]:
        """Return the layers that read a tensor."""
        return [layer for layer in self.layers if tensor in {one.name for one in layer.inputs}]

    @cached_property
    def _producers(self) -> dict[str, Layer]:
        return {one.name: layer for layer in self.layers for one in layer.outputs}


def read_engine(path: Path) -> Engine:
    """Read the inspector's JSON, of any version and verbosity.

    Raises:
        UsageError: it cannot be read or is not such a file.
    """
    try:
        raw = json.loads(_text(path), strict=False)  # separators in "Metadata" are control signs
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not JSON: {error}") from error
    found = raw.get("Layers") if isinstance(raw, dict) else None
    if not isinstance(found, list) or not found:
        raise UsageError(
            f"'{path}' has no list \"Layers\": give what trtexec --exportLayerInfo or TensorRT's "
            "inspector wrote"
        )
    if not all(isinstance(entry, str) or _is_layer(entry) for entry in found):
        raise UsageError(f"'{path}' has a layer that is neither a name nor an object with \"Name\"")
    return Engine(
        tuple(_layer(entry) for entry in found),
        all(isinstance(entry, dict) for entry in found),
        raw,
    )


def read_profile(path: Path) -> Profile:
    """Read the times of layers.

    Raises:
        UsageError: it cannot be read or is not such a file.
    """
    try:
        return parse_profile(_text(path))
    except AgentError as error:
        raise UsageError(f"'{path}': {error}") from error


def read_times(path: Path) -> Times:
    """Read the times of inferences.

    Raises:
        UsageError: it cannot be read or is not such a file.
    """
    try:
        return parse_times(_text(path))
    except AgentError as error:
        raise UsageError(f"'{path}': {error}") from error


def operator_of(node: str) -> str:
    """Return the operator that a node's name ends with: "Conv" of "/conv1/Conv_3"; "": none."""
    match = re.search(r"(?:^|[/.])([A-Z][A-Za-z]+)(?:_\d+)?$", node)
    return match[1] if match else ""


def module_of(node: str) -> str:
    """Return the PyTorch module of a node: "layer1.0.conv1"; "": its name does not tell.

    Both forms are read: "layer1.0.conv1/Conv" and "/layer1/layer1.0/conv1/Conv".
    """
    steps = [step for step in node.split("/") if step][:-1]
    kept = [
        step
        for step, following in zip_longest(steps, steps[1:], fillvalue="")
        if not following.startswith(f"{step}.")
    ]
    return ".".join(kept)


def _is_layer(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("Name"), str)


def _layer(entry: str | dict[str, Any]) -> Layer:
    fields: dict[str, Any] = {"Name": entry} if isinstance(entry, str) else entry
    name = fields["Name"]
    return Layer(
        name=name,
        kind=_word(fields, "LayerType"),
        inputs=tuple(_tensors(fields.get("Inputs"))),
        outputs=tuple(_tensors(fields.get("Outputs"))),
        nodes=_nodes(name, _word(fields, "Metadata")),
        weights=_weights(fields),
        tactic=_word(fields, "TacticName"),
        origin=_word(fields, "Origin"),
    )


def _word(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _tensors(found: Any) -> Iterator[Tensor]:
    for entry in found if isinstance(found, list) else []:
        if _is_layer(entry):
            sizes = entry.get("Dimensions")
            shape = sizes if isinstance(sizes, list) else []
            yield Tensor(
                entry["Name"],
                _dtype(entry),
                _word(entry, "Format/Datatype") or _word(entry, "Format"),
                tuple(size for size in shape if isinstance(size, int)),
            )


def _dtype(entry: dict[str, Any]) -> str:
    """Return the element type: "Format/Datatype" up to 10, "Datatype" beside "Format" from 11."""
    keys = ("Datatype", "DataType", "Format/Datatype")
    text = next((entry[key] for key in keys if isinstance(entry.get(key), str)), "")
    return type_of(text)


def type_of(text: str) -> str:
    """Return the element type in TensorRT's words: "int8" of "Row major Int8 format"."""
    return next((short for word, short in _TYPES if word in text.lower()), "")


def _weights(fields: dict[str, Any]) -> str:
    for key in ("Weights", "ConvWeights"):
        value = fields.get(key)
        if isinstance(value, dict) and value.get("Count", 1):
            return type_of(_word(value, "Type"))
    return ""


def _nodes(name: str, metadata: str) -> tuple[str, ...]:
    """Return the ONNX nodes of a layer: from its metadata (8.6 and later), else from its name."""
    noted = [part.partition("]")[0].strip() for part in metadata.split("[ONNX Layer:")[1:]]
    if noted:
        return tuple(dict.fromkeys(noted))
    if _COPY.search(name):
        return ()  # it names the layer that it serves
    parts = re.split(r" \+ |, ", re.sub(r"PWN\(|\)+$|\{ForeignNode\[|\]\}$", "", name))
    return tuple(part.strip() for part in parts if operator_of(part.strip()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from error
