"""Examine the calibration of a network: its images, its ranges, and four calibrators at once."""

import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgekd.core import plugins, provenance
from edgekd.core.calibration import Checkup, Choice, Seen
from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.data.images import ImageSet, overlap
from edgekd.data.sources import Splits
from edgekd.evaluate import accuracy, sensitivity
from edgekd.export import write
from edgekd.export.formats import onnx as onnx_format
from edgekd.export.qdq import Ranges
from edgekd.export.target import Target
from edgekd.export.write import Calibration
from edgekd.models.checkpoint import Model
from edgekd.pipeline import artifacts
from edgekd.quantize import calibrator, ranges
from edgekd.quantize.calibrator import Histogram

LIMIT_PERCENT = 10.0  # by which a scale may move: below, rounding errors grow by as little
_CLIPPED = 0.01  # share of a tensor's values from which a range is called narrow
_ALIKE = 1.1  # ratio of distances
_SCARCE = 5  # images of a class
_UNEVEN = 10  # times as many images of one class as of another
_FEWEST = 2  # images, to be halved
_TOLERANCE = 1e-3  # parity of the float file


def examine(
    model: Model,
    target: Target,
    splits: Splits,
    source: str,
    *,
    images: int = 512,
    evaluated: int = 512,
    seed: int = 0,
    progress: Progress | None = None,
) -> Checkup:
    """Calibrate a network by every calibrator in one pass, and compare what comes of it.

    Args:
        model: the checkpoint.
        target: with precision "int8".
        splits: training images to calibrate on, validation images to compare on.
        source: of the images, for the record.
        images: how many training images; the very ones that ``edgekd export`` takes.
        evaluated: how many validation images.
        seed: of the draws.
        progress: who is told how far it is; None: nobody.

    Raises:
        UsageError: the target is not INT8, or there are fewer than two images.
        ExportError: the network cannot be exported.
    """
    if target.precision != "int8":
        raise UsageError(f"target '{target.name}' is not INT8, so it needs no calibration")
    if min(images, len(splits.train)) < _FEWEST:
        raise UsageError(f"scales are compared between halves: give {_FEWEST} images or more")
    free = target.model_copy(update={"batch": "dynamic"})  # images need not be run one by one
    chosen = splits.train.take(artifacts.rows(splits.train, images, seed))
    shown = splits.validation.take(artifacts.rows(splits.validation, evaluated, seed))
    watch = _Watch(model, chosen, progress or Silent())
    with tempfile.TemporaryDirectory(prefix="edgekd-calibration-") as name:
        choices, settled = _choices(model, free, shown, watch, Path(name))
    tensors = watch.tensors()
    best = _recommended(choices)
    by_class = _by_class(chosen)
    lacks = _lacks(by_class, best)
    checkup = Checkup(
        provenance=provenance.stamp("torch", "onnx", "onnxruntime", seed=seed),
        parents=(model.record.weights_sha256,),
        source=source,
        target=target.name,
        images=len(chosen),
        images_by_class=by_class,
        test_images=overlap(chosen, splits.test),
        validation_images=overlap(chosen, splits.validation),
        evaluated_images=len(shown),
        choices=choices,
        tensors=tensors,
        trained_ranges=settled,
        recommended=best.calibrator,
        enough=not lacks,
        limit_percent=LIMIT_PERCENT,
        lacks=lacks,
        findings=(),
    )
    return checkup.model_copy(update={"findings": tuple(_findings(checkup))})


class _Watcher:
    """Every calibrator, and a histogram, on one tensor."""

    def __init__(self, names: list[str]) -> None:
        self.values = Histogram()
        self.calibrators = {name: calibrator.create(name) for name in names}

    def observe(self, values: NDArray[np.float32]) -> None:
        self.values.add(values)
        for one in self.calibrators.values():
            one.observe(values)

    def low_high(self) -> dict[str, tuple[float, float]]:
        return {name: one.range() for name, one in self.calibrators.items()}


class _Half(_Watcher):
    """The same on half of the images; it tells ``whole``, too."""

    def __init__(self, whole: _Watcher) -> None:
        super().__init__(list(whole.calibrators))
        self._whole = whole

    def observe(self, values: NDArray[np.float32]) -> None:
        super().observe(values)
        self._whole.observe(values)


@dataclass
class _Watch:
    """One pass over the calibration images, for all calibrators; done when first asked for."""

    model: Model
    images: ImageSet
    progress: Progress
    names: list[str] = field(default_factory=lambda: plugins.names(plugins.CALIBRATORS))
    halves: list[dict[str, dict[str, tuple[float, float]]]] = field(default_factory=list)
    whole: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    _watchers: dict[str, _Watcher] = field(default_factory=dict)

    def ranges(self, name: str, file: Path, tensors: list[str]) -> Ranges:
        """Return what one calibrator says."""
        if not self._watchers:
            self._look(file, tensors)
        return {tensor: self.whole[tensor][name] for tensor in tensors}

    def _look(self, file: Path, tensors: list[str]) -> None:
        self._watchers = {tensor: _Watcher(self.names) for tensor in tensors}
        parts = np.array_split(np.arange(len(self.images)), 2)
        with self.progress.task("calibrate", len(self.images)) as task:
            for part in parts:
                halves = {tensor: _Half(whole) for tensor, whole in self._watchers.items()}
                images = self.images.take(part)
                batches = artifacts.batches(self.model, images, len(images), 0)
                before = 0
                for count in ranges.observe(file, halves, batches):
                    task.advance(count - before)
                    before = count
                self.halves.append({tensor: half.low_high() for tensor, half in halves.items()})
        self.whole = {tensor: seen.low_high() for tensor, seen in self._watchers.items()}

    def tensors(self) -> tuple[Seen, ...]:
        """Return what was seen of each tensor."""
        return tuple(
            Seen(
                tensor=tensor,
                low_high=self.whole[tensor],
                clipped_ratio={
                    name: watcher.values.beyond(_threshold(bounds))
                    for name, bounds in self.whole[tensor].items()
                },
                move_percent=self.moves(tensor),
            )
            for tensor, watcher in self._watchers.items()
        )

    def moves(self, tensor: str) -> dict[str, float]:
        """Return by how much the scale of a tensor moves from one half to the other."""
        found = {}
        for name in self.names:
            one, other = (_threshold(half[tensor][name]) for half in self.halves)
            whole = _threshold(self.whole[tensor][name])
            found[name] = 100 * abs(one - other) / whole if whole else 0.0
        return found


def _choices(
    model: Model, target: Target, shown: ImageSet, watch: _Watch, folder: Path
) -> tuple[tuple[Choice, ...], int]:
    """Return the calibrators, the least distance first, and how many ranges were trained."""
    plain = Target(name="float", precision="fp32", opset=target.opset, tolerance=_TOLERANCE)
    parity_nchw = next(artifacts.batches(model, watch.images, artifacts.PARITY_IMAGES, 0))
    record = write.export(model, plain, folder, parity_nchw=parity_nchw)
    draft = folder / record.file
    written = onnx.load(str(draft))
    rule = model.record.normalisation
    float_nk = accuracy.logits_of(draft, shown, rule, progress=watch.progress)
    found = []
    settled = 0
    for name in watch.names:
        calibration = Calibration(partial(watch.ranges, name), name)
        quantised, _ = write.quantise(written, model, target, draft, calibration)
        file = folder / f"{name}.onnx"
        file.write_bytes(onnx_format.serialise(quantised))
        logits_nk = accuracy.logits_of(file, shown, rule, progress=watch.progress)
        harm = sensitivity.damage(float_nk, logits_nk, shown.labels_n)
        moves = [watch.moves(tensor)[name] for tensor in watch.whole] or [0.0]
        same_n = float_nk.argmax(axis=1) == logits_nk.argmax(axis=1)
        pairs = sum(node.op_type == "QuantizeLinear" for node in quantised.graph.node)
        settled = pairs - len(watch.whole)
        found.append(
            Choice(
                calibrator=name,
                relative_l2=harm.relative_l2,
                top1_agreement_ratio=float(same_n.mean()),
                drop_pp=harm.drop_pp,
                median_move_percent=float(np.median(moves)),
                largest_move_percent=max(moves),
            )
        )
    return tuple(sorted(found, key=lambda choice: choice.relative_l2)), settled


def _recommended(choices: tuple[Choice, ...]) -> Choice:
    """Return, of those about as near as the nearest, the one whose scales move least."""
    near = [one for one in choices if one.relative_l2 <= _ALIKE * choices[0].relative_l2]
    return min(near, key=lambda choice: choice.largest_move_percent)


def _by_class(images: ImageSet) -> dict[str, int]:
    counts_k = np.bincount(images.labels_n, minlength=len(images.class_names))
    return dict(zip(images.class_names, counts_k.tolist(), strict=True))


def _threshold(bounds: tuple[float, float]) -> float:
    return max(-bounds[0], bounds[1])


def _lacks(by_class: dict[str, int], best: Choice) -> tuple[str, ...]:
    """Say why the images are not enough for the best calibrator; nothing: they are."""
    said = []
    missing = [name for name, count in by_class.items() if not count]
    if missing:
        said.append(f"classes without an image: {', '.join(missing)}")
    fewest = min((name for name in by_class if by_class[name]), key=by_class.__getitem__)
    most = max(by_class, key=by_class.__getitem__)
    if by_class[most] > _UNEVEN * by_class[fewest]:
        said.append(
            f"classes are unbalanced: {by_class[most]} images of '{most}', {by_class[fewest]} of "
            f"'{fewest}', more than {_UNEVEN} times as many"
        )
    if best.largest_move_percent > LIMIT_PERCENT:
        said.append(
            f"{sum(by_class.values())} images are too few for '{best.calibrator}': a scale of one "
            f"half of them differs from the other's by {best.largest_move_percent:.0f} %; take more"
        )
    return tuple(said)


def _findings(found: Checkup) -> list[str]:
    """Say what should be mended, in sentences."""
    said = []
    best = next(one for one in found.choices if one.calibrator == found.recommended)
    if found.test_images:
        said.append(
            f"{found.test_images} of the {found.images} calibration images are test images, too: "
            "the accuracy that is measured on those flatters the file"
        )
    if found.validation_images:
        said.append(
            f"{found.validation_images} of the calibration images are validation images, too"
        )
    scarce = [name for name, count in found.images_by_class.items() if 0 < count < _SCARCE]
    said += found.lacks
    if scarce:
        said.append(f"classes with fewer than {_SCARCE} images: {', '.join(scarce)}")
    for seen in found.tensors:
        ratio = seen.clipped_ratio[best.calibrator]
        if ratio > _CLIPPED:
            said.append(f"{ratio:.1%} of the values of '{seen.tensor}' are clipped")
        if _threshold(seen.low_high["minmax"]) == 0:
            said.append(f"'{seen.tensor}' is zero for all calibration images")
    if best.drop_pp.low > 0:
        said.append(
            f"even with '{best.calibrator}' INT8 loses {best.drop_pp.value:.2f} pp of top-1: see "
            "`edgekd sensitivity`, or train for it with `edgekd quantize`"
        )
    return said
