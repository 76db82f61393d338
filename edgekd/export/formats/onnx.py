"""Float ONNX, by PyTorch's current exporter."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Literal

import onnx
import torch
from onnx import ModelProto
from torch import nn

from edgekd.core.errors import ExportError
from edgekd.export import names, opset, tidy

log = logging.getLogger(__name__)

INPUT = "images"
OUTPUT = "logits"
BATCH = "batch"  # the name of the free dimension
_CHATTY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")  # loggers
_OLDEST_OPSET = 18  # the exporter writes nothing older, whatever it is asked for


def to_onnx(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    opset_version: int,
    batch: Literal["dynamic"] | int,
) -> tuple[ModelProto, tuple[str, ...]]:
    """Export a network in evaluation mode, tidied and named after its modules.

    Returns the model, and notes on what could not be simplified.

    Args:
        module: on any device; it is left as it is.
        input_shape: C, H, W.
        opset_version: is kept to, or refused.
        batch: how many images at a time.

    Raises:
        ExportError: PyTorch cannot export it, or not in this opset.
    """
    on_cpu = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    model = _export(on_cpu, input_shape, max(opset_version, _OLDEST_OPSET), batch)
    _check_interface(model)
    notes = tidy.tidy(model)
    names.name_all(model)
    model.producer_name, model.producer_version = "edgekd", ""
    opset.lower(model, opset_version)
    return model, notes


def _export(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    opset_version: int,
    batch: Literal["dynamic"] | int,
) -> ModelProto:
    dynamic = batch == "dynamic"
    # With one image the exporter would take the free dimension for a constant 1.
    images_nchw = torch.zeros(2 if batch == "dynamic" else batch, *input_shape)
    shapes = ({0: torch.export.Dim(BATCH)},) if dynamic else None
    try:
        with _hushed() as noise:
            program = torch.onnx.export(
                module,
                (images_nchw,),
                dynamo=True,
                opset_version=opset_version,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        hint = " A fixed batch in the target (batch = 1) may help." if dynamic else ""
        cause = error.__cause__ or error
        raise ExportError(
            f"PyTorch cannot export the network: {_first_line(cause)}.{hint}"
        ) from error
    log.debug("exporter: %s", noise.getvalue())
    assert program is not None
    # A copy: the program's own holds its tensors by reference.
    model: ModelProto = ModelProto.FromString(program.model_proto.SerializeToString())
    return model


@contextlib.contextmanager
def _hushed() -> Iterator[io.StringIO]:
    """Catch what the exporter prints: stdout carries results, and only edgekd's own."""
    noise = io.StringIO()
    chatty = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in chatty]
    with (
        contextlib.redirect_stdout(noise),
        contextlib.redirect_stderr(noise),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for logger in chatty:
            logger.setLevel(logging.CRITICAL)
        try:
            yield noise
        finally:
            for logger, level in zip(chatty, levels, strict=True):
                logger.setLevel(level)


def _check_interface(model: ModelProto) -> None:
    """One input, one output [N, K]: what every engine and every measurement counts on."""
    inputs, outputs = model.graph.input, model.graph.output
    rank = len(outputs[0].type.tensor_type.shape.dim) if outputs else 0
    if len(inputs) != 1 or len(outputs) != 1 or rank != 2:  # noqa: PLR2004  [N, K]
        raise ExportError(
            f"a classifier takes one batch of images and returns logits [N, K]; this network takes "
            f"{len(inputs)} and returns {len(outputs)}, the first with {rank} dimensions"
        )
    foreign = sorted({node.domain for node in model.graph.node if node.domain})
    if foreign or model.functions:
        raise ExportError(f"the network needs operators outside ONNX: {', '.join(foreign)}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def serialise(model: ModelProto) -> bytes:
    """Return a model as bytes, weights included; the same model gives the same bytes.

    Raises:
        ExportError: it is larger than the 2 GB that one ONNX file can hold.
    """
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ExportError(
            f"the model has {model.ByteSize():,} bytes, but an ONNX file holds at most "
            f"{onnx.checker.MAXIMUM_PROTOBUF:,}"
        )
    return bytes(model.SerializeToString(deterministic=True))
