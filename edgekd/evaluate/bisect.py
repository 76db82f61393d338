"""Which layer of two files of one network differs first, on real images.

Letters: N images, F numbers of one tensor for one image.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core.errors import UsageError
from edgekd.core.progress import Progress, Silent
from edgekd.core.records import Normalisation
from edgekd.data.images import ImageSet
from edgekd.evaluate import accuracy
from edgekd.evaluate.probes import Network

CHUNK = 16  # tensors that a run gives at most
_RUN_BYTES = 64 * 2**20  # of those tensors, for each file


@dataclass(frozen=True)
class Difference:
    """How much a tensor of the second file differs from the first file's."""

    tensor: str
    layer: str  # the PyTorch module
    operator: str
    relative_error: float  # RMS of the difference / RMS of the first's; inf: not finite
    cosine: float  # of the angle between the two
    max_error: float  # the largest difference
    increase: float  # of the relative error, over the largest of what it is computed from


@dataclass(frozen=True)
class Comparison:
    """What was measured, in the order of the network."""

    common: int  # tensors that both files have
    measured: tuple[Difference, ...]
    first: Difference | None  # beyond the tolerance, while what it is computed from is not
    runs: int  # of both files


def compare(
    files: tuple[Path, Path],
    images: ImageSet,
    normalisation: Normalisation,
    *,
    tolerance: float,
    every: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Find the first tensor whose relative error is beyond the tolerance.

    The search looks at 16 tensors at once, evenly spaced, then between the last that agrees and
    the first that differs: ceil(log16 L) runs for L tensors, and a run or two for the branches
    that lead there. A difference that has vanished again where it looks, the network's last tensor
    always among those, is not seen: ``every`` measures all, in L / 16 runs.

    Args:
        files: two ONNX files of one network, with one input of images.
        images: at least one.
        normalisation: what the network was trained with.
        tolerance: largest relative error that is no difference, >= 0.
        every: measure all tensors.
        progress: who is told how far it is; None: nobody.

    Raises:
        UsageError: the files have no tensors in common, or some of other shapes.
        RecordError: one cannot be opened or run on these images.
        DeviceError: the agent fails.
    """
    first, second = (Network(path) for path in files)
    keys = _common(first, second, files)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        scale = _Scale((first, second), images, normalisation, Path(folder))
        steps = math.ceil(len(keys) / CHUNK) if every else _rounds(len(keys))
        with (progress or Silent()).task("compare layers", steps) as task:
            search = _Search(scale, keys, tolerance)
            for _ in search.all() if every else search.narrow():
                task.advance()
        found = search.first()
    rows = {key: _row(first, key, scale.sums) for key in keys if key in scale.sums}
    return Comparison(
        common=len(keys),
        measured=tuple(rows.values()),
        first=None if found is None else rows[found],
        runs=scale.runs,
    )


def _common(first: Network, second: Network, files: tuple[Path, Path]) -> list[str]:
    keys = [key for key in first.tensors if key in second.tensors]
    if not keys:
        one, other = (list(net.tensors)[:3] for net in (first, second))
        raise UsageError(
            f"'{files[0]}' and '{files[1]}' have no tensor in common: one has "
            f"{', '.join(one) or 'none'} ..., the other {', '.join(other) or 'none'} ...: name two "
            "files of one network, such as `edgekd export` writes from one checkpoint"
        )
    for key in keys:
        mine, theirs = first.tensors[key].shape, second.tensors[key].shape
        if mine != theirs:
            raise UsageError(
                f"'{key}' is {list(mine)} in '{files[0]}', but {list(theirs)} in '{files[1]}': "
                "name two files of one network, neither of them pruned further"
            )
    return keys


def _rounds(count: int) -> int:
    """Return how often ``count`` must be divided by the chunk to be one."""
    return max(1, math.ceil(math.log(count, CHUNK))) if count else 1


class _Sums:
    """Statistics of two tensors, a few images at a time."""

    def __init__(self) -> None:
        self._first = self._second = self._product = self._error = self._largest = 0.0

    def add(self, first_nf: NDArray[np.float32], second_nf: NDArray[np.float32]) -> None:
        one, other = first_nf.astype(np.float64).ravel(), second_nf.astype(np.float64).ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            error = other - one
            self._first += float(one @ one)
            self._second += float(other @ other)
            self._product += float(one @ other)
            self._error += float(error @ error)
            largest = float(np.abs(error).max(initial=0.0))
        self._largest = largest if math.isnan(largest) else max(self._largest, largest)

    @property
    def relative_error(self) -> float:
        """Return sqrt(sum (b - a)^2 / sum a^2); 1 if only b is not 0, inf if it is not finite."""
        if not math.isfinite(self._error) or not math.isfinite(self._first):
            return math.inf
        if self._first == 0:
            return float(self._error > 0)
        return math.sqrt(self._error / self._first)

    @property
    def cosine(self) -> float:
        """Return sum ab / sqrt(sum a^2 sum b^2); 1 if both are 0, 0 if one is or is not finite."""
        length = math.sqrt(self._first) * math.sqrt(self._second)
        if length == 0:
            return float(self._first == self._second)
        cosine = self._product / length
        return max(-1.0, min(1.0, cosine)) if math.isfinite(cosine) else 0.0

    @property
    def max_error(self) -> float:
        """Return max |b - a|; inf if it is not finite."""
        return self._largest if math.isfinite(self._largest) else math.inf


class _Scale:
    """Runs both files and keeps the statistics of what they give."""

    def __init__(
        self,
        nets: tuple[Network, Network],
        images: ImageSet,
        normalisation: Normalisation,
        folder: Path,
    ) -> None:
        self.nets = nets
        self.sums: dict[str, _Sums] = {}
        self.runs = 0
        self._images = images
        self._normalisation = normalisation
        self._folder = folder

    def measure(self, keys: Sequence[str]) -> None:
        """Run both files, once for every 16 tensors that were not measured before."""
        new = [key for key in keys if key not in self.sums]
        for start in range(0, len(new), CHUNK):
            self._run(new[start : start + CHUNK])

    def _run(self, keys: Sequence[str]) -> None:
        probes = []
        for net, name in zip(self.nets, ("first", "second"), strict=True):
            probes.append(self._folder / f"{name}.onnx")
            net.write(keys, probes[-1])
        sizes = [self.nets[0].tensors[key].size for key in keys]
        ends = np.cumsum([0, *sizes])
        sums = {key: _Sums() for key in keys}
        group = max(1, _RUN_BYTES // (4 * int(ends[-1])))
        for start in range(0, len(self._images), group):
            part = self._images.take(np.arange(start, min(start + group, len(self._images))))
            one, other = (accuracy.logits_of(probe, part, self._normalisation) for probe in probes)
            for key, (low, high) in zip(keys, pairwise(ends), strict=True):
                sums[key].add(one[:, low:high], other[:, low:high])
        self.sums |= sums
        self.runs += 1


@dataclass(frozen=True)
class _Search:
    scale: _Scale
    keys: list[str]
    tolerance: float

    def all(self) -> Iterator[None]:
        """Measure every tensor, a chunk a step."""
        for start in range(0, len(self.keys), CHUNK):
            self.scale.measure(self.keys[start : start + CHUNK])
            yield

    def narrow(self) -> Iterator[None]:
        """Close in on the first tensor that differs, a run a step."""
        low, high = -1, len(self.keys)  # the last that agrees, the first that does not
        while high - low > 1:
            between = high - low - 1
            count = min(CHUNK, between)
            points = [low + step * between // count for step in range(1, count + 1)]
            self.scale.measure([self.keys[point] for point in points])
            bad = [point for point in points if self._differs(self.keys[point])]
            high = bad[0] if bad else high
            low = max([low, *(point for point in points if point < high)])
            yield
        if high < len(self.keys):
            self._climb(self.keys[high])

    def first(self) -> str | None:
        """Return the first tensor that differs, as far as they were measured."""
        measured = [key for key in self.keys if key in self.scale.sums]
        return next((key for key in measured if self._differs(key)), None)

    def _climb(self, key: str) -> None:
        """Measure what a differing tensor is computed from, and so on while that differs too.

        A branch that comes early in the order may have been passed by for a later one that agrees.
        """
        above: str | None = key
        while above is not None:
            before = self.scale.nets[0].before(above, self.keys)
            self.scale.measure(before)
            above = next((other for other in before if self._differs(other)), None)

    def _differs(self, key: str) -> bool:
        return self.scale.sums[key].relative_error > self.tolerance


def _row(net: Network, key: str, sums: dict[str, _Sums]) -> Difference:
    mine = sums[key]
    before = max((sums[other].relative_error for other in net.before(key, sums)), default=0.0)
    both_infinite = math.isinf(mine.relative_error) and math.isinf(before)
    return Difference(
        tensor=key,
        layer=net.tensors[key].layer,
        operator=net.tensors[key].operator,
        relative_error=mine.relative_error,
        cosine=mine.cosine,
        max_error=mine.max_error,
        increase=0.0 if both_infinite else mine.relative_error - before,
    )
