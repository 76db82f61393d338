"""The files beside an ONNX file that hold its weights: a board needs them, too."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.core.errors import RecordError

if TYPE_CHECKING:
    from onnx import GraphProto


def files_of(model: Path) -> tuple[Path, ...]:
    """Return the files in which an ONNX file keeps weights; none if they are inside.

    What is no ONNX file, or is missing, has none: whoever opens it says so.

    Raises:
        RecordError: one of them is not beside the model. Only such files are sent, or a model of
            somebody else's could ask for any file of this machine.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except (OSError, DecodeError):
        return ()
    names = sorted(set(_places(graph)))
    for name in names:
        if name in {"", ".", ".."} or "/" in name or "\\" in name:
            raise RecordError(
                f"'{model}' keeps weights in '{name}', but only files that lie beside it are sent "
                "to a board: save it anew, with its weights inside or in a file beside it"
            )
    return tuple(model.parent / name for name in names)


def _places(graph: "GraphProto") -> Iterator[str]:
    """Yield where each tensor of a graph has its data, those of graphs inside it too."""
    from onnx import TensorProto

    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _places(inner)
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
