"""TensorRT engines: built where they run, and judged anywhere by their head and their record.

A plan fits only the TensorRT and the GPU that made it, and whoever loads it trusts its code. So it
travels with a record that names it by its SHA-256, and neither is used without the other.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from onnx import TensorProto
from pydantic import ValidationError

from edgekd.agent import plan as plans
from edgekd.agent.protocol import AgentError
from edgekd.core import files
from edgekd.core.engine import Engine
from edgekd.core.errors import DeviceError, ExportError, RecordError, UsageError
from edgekd.core.records import Shapes
from edgekd.export import metadata
from edgekd.remote import errand, lines, session
from edgekd.remote.errand import Fetched, Reach

SILENCE_S = 3600.0  # TensorRT before 10 says nothing while it builds; large networks take long
_HEAD_BYTES = 64


@dataclass(frozen=True)
class Wishes:
    """How an engine is to be built; None: as TensorRT likes it.

    Args:
        engine: TensorRT's Python package, or its program trtexec.
        typing: "auto" is strong from TensorRT 10 on: the graph alone decides on precision.
        profiles: sizes of inputs with a free batch; None: those in the file's own notes.
        workspace_mib: memory that a kernel may use besides weights and activations, > 0.
        optimization_level: 0 (quick build) to 5 (quick engine); TensorRT 8.6 and later.
        timing_cache: a folder of that machine, which makes a second build quick.
        dla_core: the deep-learning accelerator to use, from 0.
        gpu_fallback: whether the GPU takes layers that a DLA cannot.
    """

    engine: Literal["tensorrt", "trtexec"] = "tensorrt"
    typing: Literal["auto", "strong", "weak"] = "auto"
    profiles: dict[str, Shapes] | None = None
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: str | None = None
    dla_core: int | None = None
    gpu_fallback: bool = False


def build(
    model: Path,
    plan: Path,
    wishes: Wishes | None = None,
    *,
    reach: Reach | None = None,
    layers: Path | None = None,
    progress: Callable[[lines.Progress], None] | None = None,
) -> Engine:
    """Build an ONNX file into an engine; write the plan, and its record beside it.

    Args:
        model: an ONNX file; its weights are inside, or in files beside it.
        plan: the file to write, for its owner alone.
        wishes: how; None: as TensorRT likes it.
        reach: where; None: on this machine.
        layers: where to write what TensorRT's inspector says of the layers; None: nowhere.
        progress: is told how far it is, by TensorRT 10 and later.

    Raises:
        UsageError: a free batch without sizes.
        RecordError: no ONNX file.
        ExportError: TensorRT refuses the model.
        DeviceError: the machine cannot be reached, or has no TensorRT or GPU.
    """
    wishes = wishes or Wishes()
    request: dict[str, object] = {
        "engine": wishes.engine,
        "model": errand.model(model),
        "plan": Fetched(plan),
        "layers": None if layers is None else Fetched(layers),
        "typing": wishes.typing,
        "precision": precision_of(model),
        "profiles": _profiles(model, wishes),
        "workspace_mib": wishes.workspace_mib,
        "optimization_level": wishes.optimization_level,
        "timing_cache": wishes.timing_cache,
        "dla_core": wishes.dla_core,
        "gpu_fallback": wishes.gpu_fallback,
    }
    built = None
    try:
        with session.talk("build", request, reach=reach, silence_s=SILENCE_S) as said:
            for line in said:
                if isinstance(line, lines.Built):
                    built = line.record
                elif isinstance(line, lines.Progress) and progress is not None:
                    progress(line)
    except RecordError as error:  # the agent's word for a model that cannot be used
        raise ExportError(str(error)) from error
    if built is None:
        raise DeviceError("the agent says that it is done, but not what it has built")
    text = built.model_dump_json(indent=2) + "\n"
    plan.chmod(0o600)
    plans.write(plans.sidecar(str(plan)), text.encode())
    return verify(plan, model)


def verify(plan: Path, model: Path | None = None) -> Engine:
    """Check a plan against its record, without TensorRT, and return the record.

    Args:
        plan: the engine's file.
        model: the ONNX file that it must have been built from; None: whichever.

    Raises:
        RecordError: no plan, no record, or they do not belong together.
    """
    if not plan.is_file():
        raise RecordError(f"there is no plan '{plan}'")
    with plan.open("rb") as file:
        try:
            head = plans.head_of(file.read(_HEAD_BYTES), str(plan))
        except AgentError as error:
            raise RecordError(str(error)) from error
    record = _record(Path(plans.sidecar(str(plan))))
    version = ".".join(map(str, head.version[:3]))
    facts = [
        ("SHA-256", files.sha256_of(plan), record.plan_sha256),
        ("TensorRT version", version, record.tensorrt),
    ]
    if model is not None:
        facts.append(("ONNX file's SHA-256", files.sha256_of(model), record.onnx_sha256))
    for what, found, expected in facts:
        if found != expected:
            raise RecordError(
                f"the {what} of '{plan}' is {found}, but its record says {expected}: build it again"
            )
    return record


def origin(plan: Path) -> Path:
    """Return the ONNX file that a plan was built from, which lies beside it.

    Raises:
        RecordError: the plan is not what its record says, or the file is not there.
    """
    record = verify(plan)
    for path in sorted(plan.parent.glob("*.onnx")):
        if files.sha256_of(path) == record.onnx_sha256:
            return path
    raise RecordError(
        f"beside '{plan}' lies no ONNX file with SHA-256 {record.onnx_sha256[:12]}..., which it "
        "was built from, and which says how images are prepared: keep the two together"
    )


def precision_of(model: Path) -> Literal["fp32", "fp16", "int8"]:
    """Return what an ONNX file asks for: INT8 by Q/DQ, FP16 by its weights, else FP32.

    Raises:
        RecordError: no ONNX file.
    """
    metadata.read(model)  # complains of what is no file of images
    graph = onnx.load(str(model), load_external_data=False).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)
    return "fp16" if half else "fp32"


def _profiles(model: Path, wishes: Wishes) -> dict[str, object] | None:
    """Return the sizes of free dimensions as JSON; None: there are none."""
    notes = metadata.read(model)
    profiles = notes.profiles if wishes.profiles is None else wishes.profiles
    if notes.batch is None and not profiles:
        raise UsageError(
            f"'{model}' takes any number of images, but an engine is built for certain ones: "
            "export it for some, such as --batch 1 or 1:8:32"
        )
    return {name: shapes.model_dump(mode="json") for name, shapes in profiles.items()} or None


def _record(path: Path) -> Engine:
    try:
        return Engine.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise RecordError(
            f"there is no '{path}': plans are used with the record that edgekd writes beside them"
        ) from error
    except (ValueError, ValidationError) as error:
        raise RecordError(f"'{path}' is no record of an engine: {error}") from error
