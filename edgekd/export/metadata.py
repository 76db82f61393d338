"""What an ONNX file says about itself: how to prepare images, and what its classes are called.

Needs neither torch nor onnxruntime.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto, helper

from edgekd import __version__
from edgekd.core import provenance, records
from edgekd.core.errors import RecordError
from edgekd.core.records import Normalisation, Shapes

_KEY = "edgekd"


@dataclass(frozen=True)
class Metadata:
    """The interface of a model file; what a foreign file does not say is None."""

    input_shape: tuple[int, int, int]  # C, H, W
    batch: int | None  # None: any number of images at a time
    opset: int
    input_name: str
    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] | None = None
    checkpoint_sha256: str | None = None
    platform: str | None = None
    profiles: dict[str, Shapes] = field(default_factory=dict)  # of a free batch


def write(
    model: ModelProto,
    checkpoint: records.Checkpoint,
    target: str,
    platform: str | None = None,
    profiles: dict[str, Shapes] | None = None,
) -> None:
    """Note in the model how it is to be used, and what it was made from.

    Args:
        model: is written to.
        checkpoint: says how images are prepared, and what the classes are called.
        target: the name of the export target.
        platform: the JetPack that the file was made for; None: none in particular.
        profiles: the sizes of each input of a free batch, for the builder of engines.
    """
    channels, height, width = checkpoint.input_shape
    preprocessing = {
        "layout": "NCHW",
        "colours": "RGB" if channels == 3 else f"{channels} channels",  # noqa: PLR2004
        "size": [height, width],
        "pixels": "value / 255, then (value - mean) / std",
        **checkpoint.normalisation.model_dump(mode="json"),
    }
    notes = {
        _KEY: __version__,
        "edgekd.target": target,
        "edgekd.checkpoint_sha256": checkpoint.weights_sha256,
        "edgekd.parents": json.dumps(checkpoint.parents),
        "edgekd.versions": json.dumps(provenance.stamp("torch", "onnx").versions),
        "classes": json.dumps(checkpoint.class_names, ensure_ascii=False),
        "preprocessing": json.dumps(preprocessing),
    }
    if platform is not None:
        notes["edgekd.platform"] = platform
    if profiles:
        sizes = {name: found.model_dump(mode="json") for name, found in profiles.items()}
        notes["edgekd.profile"] = json.dumps(sizes)
    helper.set_model_props(model, notes)


def read(path: Path) -> Metadata:
    """Read the interface of an ONNX file, edgekd's or not.

    Raises:
        RecordError: it is no ONNX file, or does not take images [N, C, H, W] of a fixed size.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError as error:
        raise RecordError(f"there is no file '{path}'") from error
    except DecodeError as error:
        raise RecordError(f"'{path}' is not an ONNX file: {error}") from error
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise RecordError(f"'{path}' takes {len(inputs)} inputs; edgekd knows models that take one")
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if len(sizes) != 4 or min(sizes[1:]) < 1:  # noqa: PLR2004  N, C, H, W
        raise RecordError(
            f"'{path}' takes {sizes} (0: not fixed); edgekd knows images [N, C, H, W] of one size"
        )
    versions = [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    return Metadata(
        input_shape=(sizes[1], sizes[2], sizes[3]),
        batch=sizes[0] or None,
        opset=max(versions, default=0),
        input_name=inputs[0].name,
        **_notes(model, path),
    )


def _notes(model: ModelProto, path: Path) -> dict[str, Any]:
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if _KEY not in notes:
        return {}
    try:
        preprocessing = json.loads(notes["preprocessing"])
        return {
            "normalisation": Normalisation(mean=preprocessing["mean"], std=preprocessing["std"]),
            "class_names": tuple(json.loads(notes["classes"])),
            "checkpoint_sha256": notes["edgekd.checkpoint_sha256"],
            "platform": notes.get("edgekd.platform"),
            "profiles": {
                name: Shapes.model_validate(sizes)
                for name, sizes in json.loads(notes.get("edgekd.profile", "{}")).items()
            },
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"'{path}' carries notes of edgekd that cannot be read: {error}"
        ) from error


def total_bytes(path: Path) -> int:
    """Return the size of an ONNX file together with the files that hold its weights.

    Raises:
        RecordError: such a file is missing.
    """
    model = onnx.load(str(path), load_external_data=False)
    files = {path}
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}.get("location")
        if place is not None:
            files.add(path.parent / place)
    missing = sorted(str(file) for file in files if not file.is_file())
    if missing:
        raise RecordError(f"'{path}' keeps weights in '{missing[0]}', which is missing")
    return sum(file.stat().st_size for file in files)
