"""Export a checkpoint to one target: the file, its parity, its record."""

import contextlib
import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.agent import infer
from edgekd.core import files, provenance, records
from edgekd.core.errors import DataError, ExportError, UsageError
from edgekd.core.records import Artifact, Parity, Shapes
from edgekd.export import golden, half, metadata, parity, qdq, runtime, trained
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.forms import dla
from edgekd.export.plan import count_layers
from edgekd.export.platform import Platform
from edgekd.export.qdq import Ranges
from edgekd.export.target import Target
from edgekd.models import fake_quant
from edgekd.models.checkpoint import Model

RECORD = "artifact.json"
_FLOAT_TOLERANCE = 1e-3  # of the float model that an FP16 or INT8 one is made from
_BATCH = 32
_FEWEST_BITS = 7  # that targets compute in: 8, but see forms/onnxruntime for weights

FindRanges = Callable[[Path, list[str]], Ranges]


@dataclass(frozen=True)
class Calibration:
    """Where the ranges of INT8 tensors come from."""

    ranges: FindRanges  # float ONNX file, names of tensors -> low and high of each
    description: str  # for people: "entropy on 512 training images"
    valid: bool = True  # False: random images, of which no accuracy follows


@dataclass(frozen=True)
class _Outcome:
    """What the record tells of the export itself."""

    written: ModelProto
    parity: Parity
    notes: tuple[str, ...]
    profiles: dict[str, Shapes]
    golden_sha256: str | None


def export(
    model: Model,
    target: Target,
    out: Path,
    *,
    parity_nchw: NDArray[np.float32],
    calibration: Calibration | None = None,
    golden_nhwc: NDArray[np.uint8] | None = None,
    platform: Platform | None = None,
) -> Artifact:
    """Write ``out``/FILE and ``out``/artifact.json, and check that it computes what the model does.

    Args:
        model: on any device; it is left as it is. If it is quantised, a float file has its float
            weights, and an INT8 file the ranges that it was trained with; those of other tensors
            come from the calibration. Layers that were trained in float stay so.
        target: what to write.
        out: a folder, created if need be; nothing is written to it unless the export succeeds.
        parity_nchw: real images, prepared as the model takes them; at least one.
        calibration: needed for INT8; ignored for others.
        golden_nhwc: uint8, real images as they are read; they are stored beside the file with the
            logits that it gives. None: there are none.
        platform: the JetPack that is to run it, which settles opset and IR version.

    Raises:
        UsageError: INT8 without calibration, or a platform that is not the target's.
        DataError: no images for parity, or any of another shape than the model's.
        ExportError: it cannot be exported, has under 8 bits, is not for this platform, or an FP32
            artifact does not compute the same.
    """
    if target.precision == "int8" and calibration is None:
        raise UsageError(
            f"target '{target.name}' needs images for calibration: name them with --calibration"
        )
    target = platform.shape(target) if platform else target
    floating = _in_float(model)
    _check_images(model, parity_nchw, golden_nhwc)
    with tempfile.TemporaryDirectory(prefix="edgekd-export-") as folder:
        draft = Path(folder) / target.file
        expected_nk = _expected(floating, parity_nchw)
        written, notes = onnx_format.to_onnx(
            floating.module, model.record.input_shape, target.opset, target.batch
        )
        draft.write_bytes(onnx_format.serialise(written))
        tolerance = target.tolerance if target.precision == "fp32" else _FLOAT_TOLERANCE
        found = parity.compare(expected_nk, runtime.logits(draft, parity_nchw), tolerance)
        _must_hold(found)
        if target.precision == "int8" and calibration is not None:
            written, settled = quantise(written, model, target, draft, calibration)
            notes += settled
            expected_nk = _expected(model, parity_nchw)
        if target.dla:
            dla.prepare(written)
        if "fp16" in {target.precision, target.rest}:
            written, kept = halve(written, parity_nchw)
            notes += kept
        if target.dla:
            notes += dla.left_to_gpu(written)
        profiles = _profiles(model, target)
        name = platform.name if platform else None
        metadata.write(written, model.record, target.name, name, profiles)
        draft.write_bytes(onnx_format.serialise(written))
        if target.precision != "fp32":
            logits_nk = runtime.logits(draft, parity_nchw)
            found = parity.compare(expected_nk, logits_nk, target.tolerance)
        with _cleaning(out / target.file, out / golden.FILE, out / RECORD):
            files.write_bytes(out / target.file, draft.read_bytes())
            sha256 = _pairs(model, draft, out / golden.FILE, golden_nhwc)
            outcome = _Outcome(written, found, notes, profiles, sha256)
            artifact = _record(model, target, platform, out, outcome, calibration)
            records.write(artifact, out / RECORD)
    return artifact


def _in_float(model: Model) -> Model:
    """Return the network without simulated quantisation, which no file could hold."""
    if not model.quantisation.layers:
        return model
    bits = model.quantisation.least_bits
    if bits < _FEWEST_BITS:
        raise ExportError(
            f"a network of {bits} bits is for study only, for targets compute in 8 bits or more: "
            "export one that was quantised with W8A8, or the float one"
        )
    module = copy.deepcopy(model.module)
    fake_quant.strip(module)
    return replace(model, module=module)


def quantise(
    written: ModelProto, model: Model, target: Target, draft: Path, calibration: Calibration
) -> tuple[ModelProto, tuple[str, ...]]:
    """Write a float model in INT8.

    Args:
        written: of ``to_onnx``; it is left as it is.
        model: what it was written from; if it was trained in INT8, its ranges are kept.
        target: with precision "int8".
        draft: the file of ``written``, for the calibration.
        calibration: of the tensors whose range was not trained.

    Returns:
        The INT8 model, and what training has settled, in sentences.
    """
    prepared = qdq.prepare(written, target)
    floating = trained.left_float(prepared, model.module)
    target = trained.keeping_float(target, floating)
    plan = qdq.place(prepared, target)
    ranges = trained.ranges(prepared, plan, fake_quant.grids(model.module), target)
    notes = trained.notes(plan, ranges, floating)
    others = [tensor for tensor in plan.tensors if tensor not in ranges]
    if others:
        ranges |= calibration.ranges(draft, others)
    return qdq.write(prepared, plan, ranges, target), notes


def halve(
    written: ModelProto, images_nchw: NDArray[np.float32]
) -> tuple[ModelProto, tuple[str, ...]]:
    """Return a model in FP16, but for its Q and DQ, and what of it stays FP32, in sentences."""
    largest = runtime.largest(written, half.activations(written), images_nchw)
    return half.convert(written, largest)


def _profiles(model: Model, target: Target) -> dict[str, Shapes]:
    """Return the sizes that TensorRT is to build an engine for, where the batch is free."""
    if target.batch != "dynamic" or "tensorrt" not in target.runs_on:
        return {}
    least, usual, most = ((count, *model.record.input_shape) for count in target.profile)
    return {onnx_format.INPUT: Shapes(min=least, opt=usual, max=most)}


def _pairs(
    model: Model, draft: Path, path: Path, images_nhwc: NDArray[np.uint8] | None
) -> str | None:
    """Write golden pairs and return their SHA-256; without images, remove those that are there."""
    if images_nhwc is None:
        path.unlink(missing_ok=True)
        return None
    rule = model.record.normalisation
    logits_nk = runtime.logits(draft, infer.normalise(images_nhwc, rule.mean, rule.std))
    golden.write(path, images_nhwc, logits_nk)
    return files.sha256_of(path)


def _check_images(
    model: Model, images_nchw: NDArray[np.float32], golden_nhwc: NDArray[np.uint8] | None
) -> None:
    shape = model.record.input_shape
    if not len(images_nchw) or images_nchw.shape[1:] != shape:
        raise DataError(
            f"parity needs images of {list(shape)}, but has {len(images_nchw)} of "
            f"{list(images_nchw.shape[1:])}"
        )
    wanted = [*shape[1:], shape[0]]
    if golden_nhwc is not None and list(golden_nhwc.shape[1:]) != wanted:
        raise DataError(
            f"golden pairs need images of {wanted}, but have {list(golden_nhwc.shape[1:])}"
        )


def _expected(model: Model, images_nchw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the checkpoint's logits, on the CPU: a GPU may round to TF32."""
    module = copy.deepcopy(model.module).cpu().eval()
    parts = []
    with torch.no_grad():
        for first in range(0, len(images_nchw), _BATCH):
            chunk_nchw = torch.from_numpy(images_nchw[first : first + _BATCH])
            parts.append(module(chunk_nchw).float().numpy())
    return np.concatenate(parts)


def _must_hold(found: Parity) -> None:
    if found.state == "failed":
        raise ExportError(
            f"the float ONNX model does not compute what its checkpoint does: on {found.images} "
            f"images its logits differ by up to {found.relative_error:.2g} standard deviations, "
            f"allowed are {found.tolerance:.2g}. The exporter changed the network's arithmetic: "
            "see `edgekd doctor` for its version"
        )


@contextlib.contextmanager
def _cleaning(*paths: Path) -> Iterator[None]:
    """Remove what was written if the rest cannot be."""
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def _record(
    model: Model,
    target: Target,
    platform: Platform | None,
    out: Path,
    outcome: _Outcome,
    calibration: Calibration | None,
) -> Artifact:
    path = out / target.file
    int8 = target.precision == "int8"
    quantised, floating = count_layers(outcome.written)
    return Artifact(
        provenance=provenance.stamp("torch", "onnx", "onnxruntime", "onnxscript"),
        parents=(model.record.weights_sha256,),
        target=target.name,
        file=target.file,
        sha256=files.sha256_of(path),
        bytes=metadata.total_bytes(path),
        precision=target.precision,
        opset=target.opset,
        ir_version=outcome.written.ir_version,
        platform=platform.name if platform else None,
        typing=platform.typing if platform else None,
        input_shape=model.record.input_shape,
        batch=1 if target.batch == "dynamic" else target.batch,
        profiles=outcome.profiles,
        normalisation=model.record.normalisation,
        classes=model.record.classes,
        quantised_layers=quantised,
        float_layers=floating,
        calibration=calibration.description if int8 and calibration else None,
        accuracy_valid=calibration.valid if int8 and calibration else True,
        parity=outcome.parity,
        notes=outcome.notes,
        golden_sha256=outcome.golden_sha256,
    )
