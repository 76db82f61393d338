"""From an exported file to an engine: built on a board, run there, compared with what it is from.

What can be refused is refused before anything is exported: see ``survey``.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edgekd.core import records
from edgekd.core.errors import DeviceError, UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.data import augment
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy
from edgekd.export import parity, runtime, write
from edgekd.export.formats import tensorrt
from edgekd.export.platform import Platform
from edgekd.export.target import Target
from edgekd.models import score
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts, engines
from edgekd.remote import checkup, inventory

log = logging.getLogger(__name__)

PLAN = "model.plan"
LAYERS = "layers.json"


@dataclass(frozen=True)
class Site:
    """A board that builds engines."""

    place: inventory.Place
    fleet: Path | None  # the inventory that has it; None: the user's own
    builder: Literal["tensorrt", "trtexec"]


def survey(
    device: str, target: Target, platform: Platform | None = None, fleet: Path | None = None
) -> Site:
    """Ask a board whether it can build engines of a target.

    Args:
        device: an entry of the inventory.
        target: what is to be exported.
        platform: that the file is to be made for; None: none in particular.
        fleet: the inventory; None: the user's own.

    Raises:
        UsageError: the device or the target is not for TensorRT, or the platform is not the
            board's.
        ExportError: the board's TensorRT does not read the target's opset.
        DeviceError: the board cannot be reached, or has neither TensorRT's Python package nor
            trtexec.
    """
    place = inventory.usable(device, fleet)
    if place.device.engine != "tensorrt":
        raise UsageError(
            f"'{device}' runs {place.device.engine}, which builds no engines: leave --device out"
        )
    if "tensorrt" not in target.runs_on:
        raise UsageError(
            f"target '{target.name}' is not made for TensorRT, which builds the engine on "
            f"'{device}': choose another, such as tensorrt-int8, or leave --device out"
        )
    probe = checkup.ask(place)
    versions = probe.engines
    if versions.get("tensorrt"):
        builder: Literal["tensorrt", "trtexec"] = "tensorrt"
    elif versions.get("trtexec"):
        builder = "trtexec"
    else:
        raise DeviceError(
            f"'{device}' has neither TensorRT's Python package nor trtexec, so it builds no "
            f"engine: see `edgekd doctor --device {device}`"
        )
    version = engines.version_of(probe, builder)
    _must_be_its_own(platform, version, device)
    opset = platform.opset if platform else target.opset
    engines.check_opset(f"target '{target.name}'", opset, version, device)
    return Site(place, fleet, builder)


def build(
    site: Site,
    target: Target,
    artifact: records.Artifact,
    out: Path,
    *,
    model: Model,
    images: ImageSet | None,
    seed: int = 0,
    progress: Progress | None = None,
) -> records.Artifact:
    """Build the engine of an artifact, run it, and note in the artifact's record what it computes.

    Args:
        site: where.
        target: what the artifact was exported to.
        artifact: what was exported.
        out: its folder; gets the plan, its record, and what TensorRT says of the layers.
        model: the checkpoint that it was exported from.
        images: to compare the logits on; None: the engine is not run.
        seed: of the images that are drawn.
        progress: who listens.

    Raises:
        ExportError: TensorRT refuses the file, or the engine's logits are none.
        DeviceError: the board fails.
    """
    wishes = tensorrt.Wishes(
        engine=site.builder,
        typing=artifact.typing or "auto",
        dla_core=0 if target.dla else None,
        gpu_fallback=target.dla,
    )
    with (progress or Silent()).task(f"build the engine on {site.place.name}", 1) as task:
        tensorrt.build(
            out / artifact.file,
            out / PLAN,
            wishes,
            reach=site.place.reach,
            layers=out / LAYERS,
            progress=lambda line: task.advance(0, line.note),
        )
        task.advance(1)
    if site.builder == "trtexec":
        log.warning(
            "'%s' has no Python package of TensorRT: trtexec has built the engine, but cannot run "
            "images, so parity and accuracy stay unknown",
            site.place.name,
        )
        return artifact
    if images is None:
        return artifact
    compared = compare(
        out / PLAN, out / artifact.file, artifact, model, images,
        tolerance=target.tolerance, device=site.place.name, fleet=site.fleet, seed=seed,
    )  # fmt: skip
    noted = artifact.model_copy(update={"engine_parity": compared})
    records.write(noted, out / write.RECORD)
    return noted


def compare(
    plan: Path,
    file: Path,
    artifact: records.Artifact,
    model: Model,
    images: ImageSet,
    *,
    tolerance: float,
    device: str,
    fleet: Path | None = None,
    seed: int = 0,
) -> records.EngineParity:
    """Run an engine on its board over some images, and compare its logits with its origins'.

    Args:
        plan: the engine, with its record beside it.
        file: the ONNX file that it was built from.
        artifact: the record of that file.
        model: the checkpoint that the file was exported from.
        images: to draw from.
        tolerance: on the largest error of a logit over the logits' standard deviation.
        device: the board.
        fleet: the inventory that has it; None: the user's own.
        seed: of the images that are drawn.

    Raises:
        RecordError: the engine was not built from the file.
        DeviceError: the board fails.
    """
    engine = tensorrt.verify(plan, file)
    shown = images.take(np.sort(artifacts.rows(images, artifacts.PARITY_IMAGES, seed)))
    found_nk = accuracy.logits_of(plan, shown, artifact.normalisation, device=device, fleet=fleet)
    pixels = shown.batch(np.arange(len(shown)))
    prepared_nchw = augment.normalise(pixels, artifact.normalisation, "cpu").numpy()
    file_nk = runtime.logits(file, prepared_nchw)
    checkpoint_nk = score.predict(model.module, shown, artifact.normalisation)
    compared = records.EngineParity(
        device=device,
        engine=engine.engine,
        plan_sha256=engine.plan_sha256,
        to_checkpoint=parity.compare(checkpoint_nk, found_nk, tolerance),
        to_file=parity.compare(file_nk, found_nk, tolerance),
    )
    _warn(compared)
    return compared


def _must_be_its_own(platform: Platform | None, version: str | None, device: str) -> None:
    if platform is None or version is None:
        return
    if ".".join(version.split(".")[:2]) not in platform.tensorrt:
        raise UsageError(
            f"platform '{platform.name}' has TensorRT {' or '.join(platform.tensorrt)}, but "
            f"'{device}' has {version}: name its own (`edgekd list platforms`), or leave "
            "--platform out"
        )


def _warn(found: records.EngineParity) -> None:
    for name, each in (("checkpoint", found.to_checkpoint), ("ONNX file", found.to_file)):
        if each.state != "passed":
            log.warning(
                "the engine's parity with its %s: %s; its logits differ by up to %.2g standard "
                "deviations, allowed are %.2g",
                name, each.state, each.relative_error, each.tolerance,
            )  # fmt: skip
