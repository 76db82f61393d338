"""From the agent's samples to estimates.

Intervals of quantiles assume no distribution; the ratio to the first subject is paired by block, so
that what slowed both down together cancels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.core import files, records, specs, statistics
from edgekd.core.errors import DeviceError
from edgekd.core.records import Interval
from edgekd.profile.notes import Notes

CONFIDENCE = 0.95  # two-sided
_QUANTILES = {"p95": 0.95, "p99": 0.99, "p99.9": 0.999}  # that short measurements do not have


@dataclass(frozen=True)
class Subject:
    """A model to be measured.

    Args:
        name: in records and tables.
        path: its file: ONNX, or an engine.
        sha256: of that file.
        plans: engines that were built from it, where those run; empty: the file runs itself.
    """

    name: str
    path: Path
    sha256: str
    plans: tuple[Path, ...] = ()

    @property
    def runs(self) -> tuple[Path, ...]:
        """Return the files that the agent opens."""
        return self.plans or (self.path,)

    def reported(self, timing: records.Timing) -> Path:
        """Return the file whose latency ``timing`` tells: of several engines, one."""
        plans = zip(self.plans, timing.builds, strict=True)
        return next((plan for plan, build in plans if build.p50_ms == timing.p50_ms), self.path)


@dataclass(frozen=True)
class Taken:
    """One measurement of several subjects, each with one or more files that ran."""

    subjects: Sequence[Subject]
    spec: specs.Profile
    notes: Notes

    def __post_init__(self) -> None:
        """Check that the agent left nothing out.

        Raises:
            DeviceError: it did.
        """
        notes, spec = self.notes, self.spec
        runs = spec.runs * spec.streams
        for index, (subject, _) in enumerate(self._files):
            sizes = [
                len(notes.blocks[index, turn].samples_ns) if (index, turn) in notes.blocks else 0
                for turn in range(spec.blocks)
            ]
            told = all(index in kind for kind in (notes.opened, notes.warmed, notes.memory))
            if not told or not notes.cores or any(size != runs for size in sizes):
                raise DeviceError(
                    f"the agent was asked for {spec.blocks} blocks of {runs} runs of each model, "
                    f"but sent other blocks or left out how '{subject.name}' was opened"
                )
        if len(notes.conditions) != 2 or not notes.telemetry:  # noqa: PLR2004 before and after
            raise DeviceError("the agent did not tell the state of the machine before and after")

    @property
    def engine(self) -> str:
        """Return the engine's name and version, and how it ran the first subject."""
        return self.notes.opened[self._chosen[0]].engine

    def samples(self) -> dict[str, NDArray[np.float64]]:
        """Return latencies in ms, [blocks, runs], by subject; of further engines, "NAME build 2".

        Engines that are not reported keep their samples all the same.
        """
        arrays = {subject.name: self._ms[index] for subject, index in self._reported()}
        for index, (subject, number) in enumerate(self._files):
            if index not in self._chosen:
                arrays[f"{subject.name} build {number + 1}"] = self._ms[index]
        return arrays

    @cached_property
    def noise(self) -> Interval | None:
        """An A/A comparison: the first subject's odd blocks over its even ones.

        Whatever keeps it from 1 is the machine's doing. None: under 12 blocks.
        """
        mine = self._ms[self._chosen[0]]
        even = mine[: len(mine) // 2 * 2]
        return statistics.ratio_of_medians(even[0::2], even[1::2], CONFIDENCE)

    @cached_property
    def timings(self) -> tuple[records.Timing, ...]:
        """Each subject's estimates."""
        first = self._ms[self._chosen[0]]
        return tuple(
            self._timing(subject, index, None if place == 0 else first)
            for place, (subject, index) in enumerate(self._reported())
        )

    def names(self) -> list[str]:
        """Return whose each file that ran is, in the agent's order."""
        return [subject.name for subject, _ in self._files]

    def steady(self) -> Iterator[tuple[Subject, bool, float]]:
        """Return of each file that ran whether, and after how many seconds, it was warm."""
        for index, (subject, _) in enumerate(self._files):
            warmed = self.notes.warmed[index]
            yield subject, warmed.steady, warmed.seconds

    def engines(self) -> set[str]:
        """Return how the subjects ran; one name unless some could not be captured as a graph."""
        return {self.notes.opened[index].engine for index in self._chosen}

    def remarks(self, noise: Interval | None, *, locked: bool | None) -> Iterator[str]:
        """Say what a reader must know, but what spoils nothing."""
        count = self._ms[0].size
        missing = [
            f"{name} ({statistics.fewest_samples(quantile):,})"
            for name, quantile in _QUANTILES.items()
            if statistics.fewest_samples(quantile) > count
        ]
        if missing:
            yield f"{count:,} samples are too few for {', '.join(missing)}"
        yield from self._about_the_engine()
        if locked is False:
            yield "clocks are not locked: they follow load and heat (a Jetson has jetson_clocks)"
        if noise is None:
            yield "under 12 blocks there is no A/A comparison, so the noise is not known"
            return
        floor = max(abs(noise.low - 1), abs(noise.high - 1))
        for timing in self.timings[1:]:
            ratio = timing.ratio_to_first
            if ratio is not None and abs(ratio.value - 1) <= floor:
                yield (
                    f"'{timing.subject}' differs from the first by {abs(ratio.value - 1):.1%}, "
                    f"which this machine's noise does alone ({floor:.1%}, A/A)"
                )

    def _about_the_engine(self) -> Iterator[str]:
        if self.engine.startswith("tensorrt"):
            yield "the processor waits for the GPU as CUDA decides (cudaDeviceScheduleAuto)"
            if self.notes.conditions[0].gpu_load is None:
                yield "whether other programs use the GPU cannot be read here"
            if any(timing.device_memory_mib is None for timing in self.timings):
                yield "peak memory leaves out what is on the GPU: the system does not tell it"
        elif self.spec.threads > 1:
            yield "ONNX Runtime's threads spin while they wait, as is its default"

    @cached_property
    def _files(self) -> list[tuple[Subject, int]]:
        """Every file that ran, in the agent's order: its subject, and its number there."""
        return [
            (subject, number) for subject in self.subjects for number in range(len(subject.runs))
        ]

    @cached_property
    def _ms(self) -> list[NDArray[np.float64]]:
        """Latencies of every file that ran, [blocks, runs of all streams]."""
        blocks = self.notes.blocks
        return [
            np.array([blocks[index, turn].samples_ns for turn in range(self.spec.blocks)]) / 1e6
            for index in range(len(self._files))
        ]

    @cached_property
    def _chosen(self) -> list[int]:
        """The file that is reported of each subject: its slowest engine.

        Of a reference its quickest, so that no luck in building flatters what is compared with it.
        """
        chosen = []
        for place, subject in enumerate(self.subjects):
            mine = [i for i, (owner, _) in enumerate(self._files) if owner is subject]
            is_reference = place == 0 and len(self.subjects) > 1
            pick = min if is_reference else max
            chosen.append(pick(mine, key=lambda index: float(np.median(self._ms[index]))))
        return chosen

    def _reported(self) -> Iterator[tuple[Subject, int]]:
        return zip(self.subjects, self._chosen, strict=True)

    def _timing(
        self, subject: Subject, index: int, first: NDArray[np.float64] | None
    ) -> records.Timing:
        mine, notes, spec = self._ms[index], self.notes, self.spec
        opened, warmed, memory = notes.opened[index], notes.warmed[index], notes.memory[index]
        if opened.load_ms is None or opened.cold_ms is None or memory.peak_mib is None:
            raise DeviceError(f"the device does not tell how much memory '{subject.name}' takes")
        blocks = [notes.blocks[index, turn] for turn in range(spec.blocks)]
        gpu = np.array([block.gpu_ns for block in blocks]) / 1e6
        images = spec.batch * spec.runs * spec.streams
        rates = np.array([1e9 * images / block.wall_ns for block in blocks])
        return records.Timing(
            subject=subject.name,
            sha256=subject.sha256,
            runs=mine.size,
            p50_ms=_certain(mine, 0.5),
            p90_ms=_certain(mine, 0.9),
            p95_ms=_interval(mine, 0.95),
            p99_ms=_interval(mine, 0.99),
            p999_ms=_interval(mine, 0.999),
            gpu_p50_ms=_interval(gpu, 0.5) if gpu.size else None,
            images_per_s=_interval(rates, 0.5),
            ratio_to_first=(
                None if first is None else statistics.ratio_of_medians(first, mine, CONFIDENCE)
            ),
            drift_ratio=drift(mine),
            spread_ratio=spread(mine),
            load_ms=opened.load_ms,
            cold_ms=opened.cold_ms,
            warm_up_s=notes.warmed[index].seconds,
            peak_memory_mib=memory.peak_mib + (warmed.device_mib or 0.0),
            device_memory_mib=warmed.device_mib,
            context_memory_mib=warmed.context_mib,
            file_bytes=subject.runs[self._files[index][1]].stat().st_size,
            builds=tuple(self._builds(subject)),
        )

    def _builds(self, subject: Subject) -> Iterator[records.Build]:
        for index, (owner, number) in enumerate(self._files):
            if owner is subject and subject.plans:
                path = subject.plans[number]
                yield records.Build(
                    plan_sha256=files.sha256_of(path),
                    plan_bytes=path.stat().st_size,
                    p50_ms=_certain(self._ms[index], 0.5),
                )


def drift(samples: NDArray[np.float64]) -> float:
    """Return the median of the last third of the samples over that of the first.

    Args:
        samples: [blocks, runs] in the order of time, at least 3 in all.
    """
    first, _, last = np.array_split(samples.ravel(), 3)
    return float(np.median(last) / np.median(first))


def spread(samples: NDArray[np.float64]) -> float:
    """Return the coefficient of variation of the blocks' medians; 0 for one block.

    Not of single runs: one interrupted run in a thousand moves that, and no median.
    """
    medians = np.median(samples, axis=1)
    return float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 else 0.0


def _interval(samples: NDArray[np.float64], quantile: float) -> Interval | None:
    return statistics.quantile_interval(samples.ravel(), quantile, CONFIDENCE)


def _certain(samples: NDArray[np.float64], quantile: float) -> Interval:
    interval = _interval(samples, quantile)
    assert interval is not None, "the spec asks for enough samples"
    return interval
