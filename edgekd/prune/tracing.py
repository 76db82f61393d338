"""Torch-Pruning's dependency graph, with what it gets wrong or lacks mended.

Its graph is built through autograd: a node for each layer and operation, channels mapped along the
edges. What an operation did is known only from the private fields of its autograd node.
"""
# ruff: noqa: SLF001

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.core.errors import UsageError
from edgekd.models.score import evaluating

Step = Any  # an autograd node


def build(shadow: nn.Module, input_shape: tuple[int, int, int]) -> tuple[Any, dict[str, Step]]:
    """Trace a network.

    Args:
        shadow: all its parameters require gradients; is not changed.
        input_shape: C, H, W.

    Returns:
        The graph, and dotted name of each module -> the autograd node of its output.

    Raises:
        UsageError: the network returns something else than one tensor.
    """
    import torch_pruning
    from torch_pruning.ops import OPTYPE

    class Graph(torch_pruning.DependencyGraph):  # type: ignore[misc]  # has no types
        def _trace(self, *arguments: Any, **options: Any) -> dict[Any, Any]:
            nodes: dict[Any, Any] = super()._trace(*arguments, **options)
            for node in nodes.values():
                # It takes every reshaping for a flattening, and divides by zero at others.
                if node.type == OPTYPE.RESHAPE and not _flattens(node.grad_fn):
                    node.type = OPTYPE.ELEMENTWISE
            return nodes

    paths: dict[str, Step] = {}
    hooks = [
        part.register_forward_hook(_noting(paths, name)) for name, part in shadow.named_modules()
    ]
    first = next(shadow.parameters())
    image_nchw = torch.rand(1, *input_shape, device=first.device, dtype=first.dtype)
    graph = Graph()
    with evaluating(shadow), torch.enable_grad():
        graph.build_dependency(
            shadow, image_nchw, forward_fn=lambda net, image: net(image), verbose=False
        )
    for hook in hooks:
        hook.remove()
    if "" not in paths:
        raise UsageError(f"{type(shadow).__name__} must return one tensor of logits to be pruned")
    nodes = list(graph.module2node.values())
    for node in nodes:
        if node.type == OPTYPE.SPLIT:
            _mend_split(node)
        elif node.type == OPTYPE.CONCAT:
            node.module.concat_sizes = None  # was inferred before the splits were mended
    return graph, paths


def _noting(paths: dict[str, Step], name: str) -> Callable[..., None]:
    def hook(_part: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None:
            paths[name] = output.grad_fn

    return hook


def _flattens(step: Step) -> bool:
    """Say whether a reshaping takes [N, C, H, W] to [N, C * H * W]."""
    before = getattr(step, "_saved_self_sym_sizes", ())
    return len(before) == 4 and len(_shape(step)) == 2  # noqa: PLR2004


def _mend_split(node: Any) -> None:
    """Set sizes and order of a split's parts, which are guessed where PyTorch is new."""
    step = node.grad_fn
    sizes = getattr(step, "_saved_split_sizes", None)
    if sizes is None and hasattr(step, "_saved_split_size"):
        whole = step._saved_self_sym_sizes[1]
        size = step._saved_split_size
        sizes = [min(size, whole - first) for first in range(0, whole, size)]
    if sizes is None or step._saved_dim != 1 or len(node.outputs) != len(sizes):
        return
    node.outputs.sort(key=lambda reader: _part_read(reader.grad_fn, step))
    node.module.split_sizes = list(sizes)
    node.module.offsets = [sum(sizes[:count]) for count in range(len(sizes) + 1)]


def _part_read(reader: Step, step: Step) -> int:
    """Return which part of ``step``'s result the operation ``reader`` takes."""
    return next((number for before, number in reader.next_functions if before is step), 0)


def _shape(step: Step) -> tuple[int, ...]:
    """Return the shape of an operation's result."""
    metadata = getattr(step, "_input_metadata", ())
    return tuple(metadata[0].shape) if metadata else ()
