"""The loss around checkpoints: what ``edgekd landscape`` does."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekd.core import provenance, records
from edgekd.core.errors import UsageError
from edgekd.core.landscape import Curvature, Landscape, Passage, Terrain
from edgekd.core.progress import Progress, Silent
from edgekd.data import sources
from edgekd.data.augment import normalise
from edgekd.data.draw import draw
from edgekd.data.images import ImageSet
from edgekd.distill import hardware
from edgekd.landscape import curvature, directions, slices
from edgekd.landscape.loss import CrossEntropy, Weights, parameters, value
from edgekd.models import checkpoint
from edgekd.models.checkpoint import Model
from edgekd.report import landscape as page

RECORD, PAGE = "landscape.json", "landscape.html"

_BATCH = 250  # images at a time; the second derivative keeps a batch's whole graph
_ITERATIONS, _PROBES = 50, 20
_RHO = 0.05
_OBSTACLES = {
    "model": "architectures",
    "surgery_sha256": "kept channels",
    "normalisation": "normalisations",
}


@dataclass(frozen=True)
class Settings:
    """How closely to look.

    Args:
        points: along each axis; odd, so that the checkpoint itself is one of them.
        reach: of the axes on both sides, as a multiple of the filters' norms, > 0.
        images: training images; all of them, if there are fewer.
        seed: of the images, the directions, and the vectors of the curvature.
        plane: also the loss over two directions, points ** 2 values.
        device: "auto", "cpu", "cuda", "cuda:1".
        image_size: as in a recipe; None: pictures in folders get the first checkpoint's.
    """

    points: int = 21
    reach: float = 1.0
    images: int = 2000
    seed: int = 0
    plane: bool = True
    device: str = "auto"
    image_size: int | None = None


def landscape(
    folders: Sequence[Path],
    source: str,
    out: Path,
    *,
    settings: Settings,
    pairs: Sequence[tuple[int, int]] | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """Measure the loss around checkpoints and between them, and write the record and the page.

    The loss is plain cross-entropy on the same training images for all, whatever each was trained
    with: losses of different kinds could not be compared.

    Args:
        folders: of the checkpoints, one or more.
        source: of the images.
        out: folder for landscape.json and landscape.html; files of these names are replaced.
        settings: how closely to look.
        pairs: numbers (from 0) of checkpoints to go between; None: every pair that a straight
            line connects.
        progress: None: silent.

    Raises:
        UsageError: no checkpoint, one named twice, settings out of range, images that a checkpoint
            does not take, a pair of different architectures, a loss that is not finite.
    """
    _check(folders, settings)
    if out.is_file():
        raise UsageError(f"'{out}' is a file: name a folder with --out")
    device = hardware.device_of(settings.device)
    images = _images(folders, source, settings)
    models = [_open(folder, images) for folder in folders]
    names = _names(folders)
    wanted = _pairs(models, names, pairs)
    study = _Study(images, settings, device, progress or Silent())
    # TF32 would round away the small differences that this is about.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        terrains = [study.around(*pair) for pair in zip(names, models, strict=True)]
        passages = [study.between((names[a], names[b]), (models[a], models[b])) for a, b in wanted]
    record = Landscape(
        provenance=provenance.stamp("torch", seed=settings.seed),
        parents=tuple(model.record.weights_sha256 for model in models),
        source=source,
        images=len(images),
        images_sha256=images.sha256,
        positions=study.positions,
        terrains=tuple(terrains),
        passages=tuple(passages),
    )
    records.write(record, out / RECORD)
    page.write(record, out / PAGE)
    return record


def _check(folders: Sequence[Path], settings: Settings) -> None:
    if not folders:
        raise UsageError("there is no checkpoint to look at: name one or more folders")
    resolved = [folder.resolve() for folder in folders]
    twice = [folder for folder in folders if resolved.count(folder.resolve()) > 1]
    if twice:
        raise UsageError(f"'{twice[0]}' is named twice: name each checkpoint once")
    if settings.points < 3 or settings.points % 2 == 0:  # noqa: PLR2004  both sides and the middle
        raise UsageError(
            f"--points is {settings.points}; expected an odd number from 3, so that the checkpoint "
            "itself is one of them"
        )
    if not 0 < settings.reach < math.inf:
        raise UsageError(f"--range is {settings.reach}; expected a number above 0")
    if settings.images < 1:
        raise UsageError(f"--images is {settings.images}; expected 1 or more")


def _images(folders: Sequence[Path], source: str, settings: Settings) -> ImageSet:
    """Draw the training images, class by class: the same for every checkpoint."""
    size = settings.image_size
    if size is None and source.startswith("folder:"):
        size = checkpoint.stored_size(str(folders[0]))
    train = sources.load_images(source, "train", size)
    if settings.images >= len(train):
        return train
    return train.take(draw(train.labels_n, settings.images, np.random.default_rng(settings.seed)))


def _open(folder: Path, images: ImageSet) -> Model:
    model = checkpoint.load(folder)
    height, width, channels = images.shape
    shape, classes = model.record.input_shape, model.record.classes
    if shape != (channels, height, width):
        raise UsageError(
            f"'{folder}' takes images of {list(shape)} (channels, height, width), but they are "
            f"{[channels, height, width]}: compare checkpoints of one shape, and see --image-size"
        )
    if classes != len(images.class_names):
        raise UsageError(
            f"'{folder}' has {classes} classes, but the images have {len(images.class_names)}: "
            "name the images that it was trained on with --data"
        )
    return model


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    longest = max(len(one) for one in parts)
    for length in range(1, longest + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    raise AssertionError(folders)


def _pairs(
    models: Sequence[Model], names: Sequence[str], pairs: Sequence[tuple[int, int]] | None
) -> list[tuple[int, int]]:
    if pairs is None:
        every = itertools.combinations(range(len(models)), 2)
        return [(a, b) for a, b in every if _obstacle(models[a], models[b]) is None]
    for a, b in pairs:
        if a == b or not (0 <= a < len(models) and 0 <= b < len(models)):
            raise UsageError(
                f"--path {a + 1}:{b + 1}: expected two different numbers from 1 to {len(models)}, "
                "in the order in which the checkpoints are named"
            )
        obstacle = _obstacle(models[a], models[b])
        if obstacle is not None:
            raise UsageError(
                f"no straight path leads from '{names[a]}' to '{names[b]}': their {obstacle} "
                "differ. Leave this --path out, or name checkpoints of one architecture and cut"
            )
    return list(pairs)


def _obstacle(one: Model, other: Model) -> str | None:
    """Return what keeps two networks from being mixed; None: nothing."""
    if _shapes(one) != _shapes(other):
        return "shapes"
    mine, theirs = one.record.identity(), other.record.identity()
    for key in sorted(mine.keys() - {"weights_sha256", "class_names"}):
        if mine[key] != theirs[key]:
            return _OBSTACLES.get(key, f"'{key}'")
    return None


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.module.state_dict().items()}


@dataclass(frozen=True)
class _Study:
    """Looks at one checkpoint after the other, in the same way."""

    images: ImageSet
    settings: Settings
    device: torch.device
    progress: Progress

    @property
    def positions(self) -> tuple[float, ...]:
        half = self.settings.points // 2
        return tuple(self.settings.reach * step / half for step in range(-half, half + 1))

    def around(self, name: str, model: Model) -> Terrain:
        loss, weights = self._loss(model), parameters(model.module)
        first, second = (directions.draw(weights, self.settings.seed, which) for which in (0, 1))
        points = self.settings.points
        plane = None
        with self.progress.task(
            f"{name}: slices", points + self.settings.plane * points**2
        ) as task:
            line = slices.line(loss, weights, first, self.positions, task.advance)
            if self.settings.plane:
                plane = slices.plane(loss, weights, first, second, self.positions, task.advance)
        _must_be_finite(itertools.chain(line, *(plane or ())), name)
        return Terrain(
            subject=name,
            model=model.record.model,
            parameters=model.record.parameters,
            loss=value(loss, weights),
            line=line,
            plane=plane,
            curvature=self._curvature(name, loss, weights),
        )

    def between(self, names: tuple[str, str], models: tuple[Model, Model]) -> Passage:
        loss = self._loss(models[0])
        start, end = (model.module.to(self.device).state_dict() for model in models)
        points = self.settings.points
        with self.progress.task(f"{names[0]} to {names[1]}", points) as task:
            losses = slices.path(loss, start, end, points, task.advance)
        _must_be_finite(losses, names[0])
        return Passage(start=names[0], end=names[1], losses=losses, barrier=slices.barrier(losses))

    def _loss(self, model: Model) -> CrossEntropy:
        batches: list[tuple[Tensor, Tensor]] = []
        for first in range(0, len(self.images), _BATCH):
            rows = np.arange(first, min(first + _BATCH, len(self.images)))
            pixels_nhwc, labels_n = self.images.batch(rows), self.images.labels_n[rows]
            images_nchw = normalise(pixels_nhwc, model.record.normalisation, self.device)
            batches.append((images_nchw, torch.from_numpy(labels_n).to(self.device)))
        return CrossEntropy(model.module.to(self.device), batches)

    def _curvature(self, name: str, loss: CrossEntropy, weights: Weights) -> Curvature:
        seed = self.settings.seed
        with self.progress.task(f"{name}: curvature", _ITERATIONS + _PROBES) as task:
            top = curvature.top_eigenvalue(loss, weights, seed, most=_ITERATIONS, tick=task.advance)
            task.advance(_ITERATIONS - top.iterations)
            trace = curvature.trace(loss, weights, seed, probes=_PROBES, tick=task.advance)
        return Curvature(
            top_eigenvalue=top.value,
            iterations=top.iterations,
            converged=top.converged,
            trace=trace.value,
            trace_error=trace.error,
            probes=_PROBES,
            sharpness=curvature.sharpness(loss, weights, _RHO),
            rho=_RHO,
        )


def _must_be_finite(losses: Iterable[float], name: str) -> None:
    if not all(map(math.isfinite, losses)):
        raise UsageError(
            f"the loss around '{name}' is not finite everywhere: look less far with --range"
        )
