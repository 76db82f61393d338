"""One network with any choice of its layers in INT8, each choice evaluated once.

Whatever is computed lies in a folder whose name is a hash of all that it depends on: a second call
reads it, and a call that was interrupted goes on where it was.
"""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.core import files, provenance, records
from edgekd.core.sensitivity import Damage, Variant
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy, sensitivity
from edgekd.export import qdq, trained, write
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.graph import WEIGHTED, Graph
from edgekd.export.names import module_of
from edgekd.export.qdq import Ranges as Bounds
from edgekd.export.target import Target
from edgekd.export.write import Calibration
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts
from edgekd.quantize import ranges
from edgekd.quantize.ranges import Ranges

_FLOAT_TOLERANCE = 1e-3


@dataclass
class Variants:
    """A network whose layers may each be INT8 or float.

    Args:
        model: the checkpoint.
        target: the form of INT8. Its batch is set free, so that images are not run one by one.
        calibration: training images that the ranges are made from, once for all variants.
        calibrator: its name.
        validation: the images that variants are compared on.
        folder: of everything that is kept.
        seed: of the images that parity is checked on.
    """

    model: Model
    target: Target
    calibration: ImageSet
    calibrator: str
    validation: ImageSet
    folder: Path
    seed: int = 0
    _bounds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def home(self) -> Path:
        """Return what is kept in: one folder for exactly these weights, images and settings."""
        depends = {
            "model": self.model.record.identity(),
            "target": self.target.model_dump(mode="json", exclude={"name", "description"}),
            "calibration": self.calibration.sha256,
            "calibrator": self.calibrator,
            "validation": self.validation.sha256,
            "versions": provenance.stamp("torch", "onnx", "onnxruntime", "onnxscript").versions,
        }
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:16]

    @cached_property
    def layers(self) -> dict[str, str]:
        """Return the layers that the target computes in INT8, with their operators."""
        plan = qdq.place(self._prepared, self.target_with(self._trained_float))
        return self._modules(set(plan.layers))

    @property
    def left_float(self) -> tuple[str, ...]:
        """Return the weighted layers that the target or training leaves float."""
        every = {node.name for node in self._prepared.graph.node if node.op_type in WEIGHTED}
        return tuple(name for name in self._modules(every) if name not in self.layers)

    @cached_property
    def float_logits_nk(self) -> NDArray[np.float32]:
        """Return what the float network says."""
        path = self.home / "float.npy"
        if not path.is_file():
            logits_nk = accuracy.logits_of(
                self._float_file, self.validation, self.model.record.normalisation
            )
            with files.replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, logits_nk, allow_pickle=False)
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)

    @property
    def top1_percent(self) -> float:
        """Return how many images the float network has right."""
        predictions_n = self.float_logits_nk.argmax(axis=1)
        return 100 * float((predictions_n == self.validation.labels_n).mean())

    def calibrate(self, choices: Sequence[tuple[str, ...]]) -> None:
        """Make the ranges of all tensors that some variants need, in one pass over the images."""
        wanted: dict[str, None] = {}
        for keep_float in choices:
            target = self.target_with((*self._trained_float, *keep_float))
            wanted |= dict.fromkeys(qdq.place(self._prepared, target).tensors)
        self._ranges(self._float_file, list(wanted))

    def damage(self, keep_float: tuple[str, ...]) -> Damage:
        """Return how far the network with these layers in float, the others in INT8, is off."""
        path = self._record(keep_float)
        if path.is_file():
            return records.read(Variant, path).damage
        calibration = Calibration(self._ranges, self.calibrator)
        written, _ = write.quantise(
            self._float, self.model, self.target_with(keep_float), self._float_file, calibration
        )
        if self.target.rest == "fp16":
            written, _ = write.halve(written, self._parity_nchw)
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            file = Path(folder) / self.target.file
            file.write_bytes(onnx_format.serialise(written))
            logits_nk = accuracy.logits_of(file, self.validation, self.model.record.normalisation)
        found = sensitivity.damage(self.float_logits_nk, logits_nk, self.validation.labels_n)
        variant = Variant(
            provenance=provenance.stamp("onnxruntime", seed=self.seed),
            parents=(self.model.record.weights_sha256,),
            keep_float=keep_float,
            damage=found,
        )
        records.write(variant, path)
        return found

    def target_with(self, keep_float: Sequence[str]) -> Target:
        """Return the target that leaves these layers float, too."""
        return trained.keeping_float(self.target, tuple(keep_float))

    @cached_property
    def _float_file(self) -> Path:
        """Write the float network, unless it is there."""
        home = self.home / "float"
        if not (home / write.RECORD).is_file():
            target = Target(
                name="float",
                precision="fp32",
                opset=self.target.opset,
                tolerance=_FLOAT_TOLERANCE,
            )
            write.export(self.model, target, home, parity_nchw=self._parity_nchw)
        record = records.read(records.Artifact, home / write.RECORD)
        records.check_file(home / record.file, record.sha256)
        return home / record.file

    @cached_property
    def _float(self) -> ModelProto:
        return onnx.load(str(self._float_file))

    @cached_property
    def _prepared(self) -> ModelProto:
        return qdq.prepare(self._float, self.target)

    @cached_property
    def _trained_float(self) -> tuple[str, ...]:
        """Return the layers that a student of simulated INT8 was trained with in float."""
        return trained.left_float(self._prepared, self.model.module)

    @cached_property
    def _parity_nchw(self) -> NDArray[np.float32]:
        count = artifacts.PARITY_IMAGES
        shown = artifacts.batches(self.model, self.calibration, count, self.seed)
        return np.concatenate(list(shown))

    def _modules(self, nodes: set[str]) -> dict[str, str]:
        """Return the modules of some nodes, in the order of the network, with operators."""
        found: dict[str, str] = {}
        for node in Graph(self._prepared).nodes:
            if node.name in nodes:
                found.setdefault(module_of(node.name), node.op_type)
        return found

    def _ranges(self, file: Path, tensors: list[str]) -> Bounds:
        """Return ranges; those that are not there yet are made, and kept."""
        path = self.home / "ranges.json"
        if not self._bounds and path.is_file():
            self._bounds |= ranges.load(path).low_high
        missing = [name for name in tensors if name not in self._bounds]
        if missing:
            count = len(self.calibration)
            shown = partial(artifacts.batches, self.model, self.calibration, count, self.seed)
            found = ranges.calibrate(file, missing, shown(), self.calibrator)
            self._bounds |= {name: (low, high) for name, (low, high) in found.items()}
            record = Ranges(
                provenance=provenance.stamp("onnxruntime", seed=self.seed),
                parents=(self.model.record.weights_sha256,),
                calibrator=self.calibrator,
                images=count,
                low_high=self._bounds,
            )
            ranges.save(path, record)
        return {name: self._bounds[name] for name in tensors}

    def _record(self, keep_float: tuple[str, ...]) -> Path:
        name = hashlib.sha256("\n".join(sorted(keep_float)).encode()).hexdigest()[:16]
        return self.home / "variants" / f"{name}.json"
