"""Ranges from training: what a student's own steps say of the tensors in its float ONNX file."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto
from torch import nn
from torch.nn.modules.conv import _ConvNd

from edgekd.export import qdq
from edgekd.export.forms import onnxruntime
from edgekd.export.graph import WEIGHTED, Graph
from edgekd.export.names import module_of
from edgekd.export.plan import Plan
from edgekd.export.target import Target
from edgekd.models import fake_quant, quantisers
from edgekd.models.fake_quant import Grid

_BITS = 8


def ranges(
    model: ModelProto, plan: Plan, grids: Mapping[str, Grid], target: Target
) -> dict[str, tuple[float, float]]:
    """Return low and high of the tensors whose range was trained.

    A layer's step belongs to the tensor that it reads, and to all that share its scale; of several
    trained steps the widest range counts. Where a Q stands for a clamp, the range ends at the
    clamp's bounds.

    Args:
        model: float, prepared for the target.
        plan: of ``qdq.place``.
        grids: what the student's layers round their inputs to, by module.
        target: what is written. Symmetric INT8 has 127 steps above 0, so a range that was trained
            with 255 is kept there, and its step grows.
    """
    graph = Graph(model)
    read: dict[str, list[tuple[float, float]]] = {}
    for node in graph.nodes:
        grid = grids.get(module_of(node.name)) if node.op_type in WEIGHTED else None
        if grid is not None:
            read.setdefault(plan.root(node.input[0]), []).append(_range(grid, target))
    bounds = {
        node.output[0]: onnxruntime.bounds(graph, node)
        for node in graph.nodes
        if node.name in plan.absorbed
    }
    found: dict[str, tuple[float, float]] = {}
    for root, members in plan.groups().items():
        if root not in read:
            continue
        low, high = min(low for low, _ in read[root]), max(high for _, high in read[root])
        for least, largest in (bounds.get(tensor, (-np.inf, np.inf)) for tensor in members):
            low, high = max(low, least), min(high, largest)
        found.update(dict.fromkeys(members, (low, high)))
    return found


def left_float(model: ModelProto, module: nn.Module) -> tuple[str, ...]:
    """Return the layers of a quantised student that were trained in float, and stay so.

    Constants of the architecture are none of them: they were not trained at all.

    Args:
        model: float ONNX.
        module: what it was written from, with simulated quantisation; without, there are none.
    """
    there = {module_of(node.name) for node in model.graph.node if node.op_type in WEIGHTED}
    quantised = fake_quant.of(module).layers
    if not quantised:
        return ()
    return tuple(
        name
        for name, part in module.named_modules()
        if isinstance(part, _ConvNd | nn.Linear)
        and isinstance(part.weight, nn.Parameter)
        and name in there - set(quantised)
    )


def float_by_target(model: ModelProto, target: Target) -> tuple[str, ...]:
    """Return the layers of a float model that the target's own rules leave in float.

    Raises:
        ExportError: all of them.
    """
    prepared = qdq.prepare(model, target)
    plan = qdq.place(prepared, target)
    weighted = [node.name for node in prepared.graph.node if node.op_type in WEIGHTED]
    return tuple(dict.fromkeys(module_of(name) for name in weighted if name not in plan.layers))


def keeping_float(target: Target, modules: tuple[str, ...]) -> Target:
    """Return the target with more modules that stay float."""
    kept = (*target.quantise.keep_float, *modules)
    rules = target.quantise.model_copy(update={"keep_float": kept})
    return target.model_copy(update={"quantise": rules})


def notes(
    plan: Plan, ranges: Mapping[str, tuple[float, float]], floating: tuple[str, ...]
) -> tuple[str, ...]:
    """Say what was taken from training: ``ranges``, and layers that stay ``floating``."""
    found = []
    if ranges:
        found.append(f"{len(ranges)} of {len(plan.tensors)} ranges come from training")
    if floating:
        found.append(f"float, as in training: {', '.join(floating)}")
    return tuple(found)


def _range(grid: Grid, target: Target) -> tuple[float, float]:
    low, high = quantisers.bounds(_BITS, signed=grid.signed)
    if target.form == "tensorrt" and grid.signed:
        low = -high  # the scale of symmetric numbers; -128 is kept all the same
    return low * grid.step, high * grid.step
