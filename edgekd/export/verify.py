"""Rewrite a graph only as long as it computes the same on random images."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from edgekd.core.errors import ExportError
from edgekd.export import runtime

Pass = Callable[[ModelProto], None]

TOLERANCE = 1e-3  # largest difference of the outputs, as a share of the largest output
_IMAGES = 2  # where the batch is free


def rewrite(model: ModelProto, passes: Iterable[Pass]) -> tuple[str, ...]:
    """Apply each pass in place, and take it back if the model breaks or computes something else.

    Returns:
        A sentence for each pass that was taken back.
    """
    expected = outputs(model)
    notes = []
    for change in passes:
        before = model.SerializeToString(deterministic=True)
        change(model)
        if model.SerializeToString(deterministic=True) == before:
            continue
        fault = fault_of(model, expected)
        if fault:
            model.ParseFromString(before)
            name = change.__name__.strip("_").replace("_", " ")
            notes.append(f"the simplification '{name}' was taken back: {fault}")
    return tuple(notes)


def fault_of(model: ModelProto, expected: list[NDArray[np.float32]]) -> str | None:
    """Return why a model is not one that computes ``expected``; None: it is."""
    try:
        onnx.checker.check_model(model, full_check=True)
        found = outputs(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return f"the graph would not be valid: {error}"
    except ExportError as error:
        return str(error)
    for wanted, got in zip(expected, found, strict=True):
        limit = TOLERANCE * float(np.abs(wanted).max(initial=0))
        if wanted.shape != got.shape or not np.allclose(wanted, got, 0, limit, equal_nan=True):
            return "outputs on random images would change"
    return None


def outputs(model: ModelProto) -> list[NDArray[np.float32]]:
    """Return what a model computes on random images, always the same ones.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    random = np.random.default_rng(0)
    constants = {tensor.name for tensor in model.graph.initializer}
    images = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        kind = value.type.tensor_type
        sizes = [size.dim_value or _IMAGES for size in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        floating = kind.elem_type in {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}
        drawn = random.standard_normal(sizes) if floating else np.zeros(sizes)
        images[value.name] = drawn.astype(dtype)
    return runtime.run(model, images)
