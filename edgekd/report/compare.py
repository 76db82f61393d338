"""Several runs side by side: what each of their files is worth, and what their recipes differ in.

Accuracies on the same test images are compared image by image. Latencies of different runs were
not measured in turns, so only their ratios to each run's teacher can be compared.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekd.core import predictions, run_folder
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Interval, Part, State
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.report import facts, words

_CONFIDENCE = 0.95  # two-sided
_FEWEST = 2
_TURNS = (
    "the latencies of different runs were not measured in turns: from run to run, compare the "
    "ratios to the teacher, not the milliseconds"
)
_TEACHERS = "the runs have different teachers: each drop is below the run's own one"


class Brief(Part):
    """A run at a glance."""

    name: str  # the end of its path, as long as it takes to tell the runs apart
    folder: str
    state: State | None  # None: it was not judged
    images: int | None  # that it was evaluated on
    images_sha256: str | None
    device: str | None  # that latencies are of
    machine: str | None


class Entry(Part):
    """One model file of a run."""

    run: str
    artifact: str
    state: State | None  # over the rules about it that decide; None: there are none
    top1_percent: Interval | None
    drop_pp: Interval | None  # below its run's teacher, paired by image
    gain_pp: Interval | None  # above the first run's file of this name, paired by image
    p50_ms: Interval | None
    latency_ratio: Interval | None  # to its run's teacher
    energy_mj: Interval | None  # of an image, above idle
    macs: int | None
    bytes: int


class Difference(Part):
    """A key of the recipe whose values are not the same in all runs."""

    key: str  # "student.prune.macs"
    values: tuple[str, ...]  # JSON, one for each run; "": the run has no such key


class Comparison(Part):
    """What there is to compare."""

    runs: tuple[Brief, ...]
    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...]
    doubts: tuple[str, ...]


def read(folders: Sequence[Path]) -> list[Run]:
    """Read the runs to compare.

    Raises:
        UsageError: there are fewer than two, one is given twice, or has nothing to show yet.
        RecordError: one is no run's folder, or damaged.
    """
    if len(folders) < _FEWEST:
        raise UsageError("compare takes two runs or more; one alone is shown by `edgekd report`")
    places = [folder.resolve() for folder in folders]
    twice = [folder for place, folder in enumerate(folders) if places[place] in places[:place]]
    if twice:
        raise UsageError(f"'{twice[0]}' is given twice: name each run once")
    runs = [run_folder.read(folder) for folder in folders]
    for run in runs:
        if not run.artifacts:
            raise UsageError(
                f"'{run.folder}' has no model file to compare yet: finish it with `edgekd run "
                "RECIPE --out DIR --resume`"
            )
    return runs


def compare(runs: Sequence[Run]) -> Comparison:
    """Set runs side by side; the first is what the others are held against."""
    names = _names([run.folder for run in runs])
    entries, faults = [], []
    for name, run in zip(names, runs, strict=True):
        for artifact in run.artifacts:
            try:
                gain = None if run is runs[0] else _gain_pp(runs[0], run, artifact)
            except RecordError as error:
                gain = None
                faults.append(f"{name}: {error}")
            entries.append(_entry(name, run, artifact, gain))
    return Comparison(
        runs=tuple(_brief(name, run) for name, run in zip(names, runs, strict=True)),
        entries=tuple(entries),
        differences=tuple(_differences(runs)),
        doubts=(*_doubts(names, runs), *dict.fromkeys(faults)),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the ends of paths that tell them apart: "digits/1" and "flowers/1"."""
    parts = [folder.resolve().parts for folder in folders]
    for length in itertools.count(1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _brief(name: str, run: Run) -> Brief:
    evaluated, measured = facts.evaluation(run), run.measurement
    return Brief(
        name=name,
        folder=str(run.folder),
        state=run.verdict.state if run.verdict else None,
        images=evaluated.images if evaluated else None,
        images_sha256=evaluated.images_sha256 if evaluated else None,
        device=measured.device if measured else None,
        machine=measured.machine if measured else None,
    )


def _entry(name: str, run: Run, artifact: str, gain: Interval | None) -> Entry:
    record = run.artifacts[artifact]
    student = next((one for one in facts.students(run) if one.name == artifact), None)
    timing = next((one.timing for one in facts.latencies(run) if one.timing.subject == artifact),
                  None)  # fmt: skip
    accuracy = run.accuracies.get(run.shipped(artifact))
    return Entry(
        run=name,
        artifact=artifact,
        state=student.state if student else None,
        top1_percent=accuracy.top1_percent if accuracy else None,
        drop_pp=student.drop_pp if student else None,
        gain_pp=gain,
        p50_ms=timing.p50_ms if timing else None,
        latency_ratio=timing.ratio_to_first if timing else None,
        energy_mj=timing.energy.per_image_mj if timing and timing.energy else None,
        macs=facts.macs_of(run, artifact, record.sha256),
        bytes=record.bytes,
    )


def _gain_pp(first: Run, run: Run, artifact: str) -> Interval | None:
    """Return how far a file lies above the first run's; None: not on the same images."""
    theirs, mine = (one.accuracies.get(one.shipped(artifact)) for one in (first, run))
    if theirs is None or mine is None or theirs.images_sha256 != mine.images_sha256:
        return None
    right_n, theirs_n = (
        predictions.correct(record, run_folder.accuracy(owner.folder, artifact).parent)
        for record, owner in ((mine, run), (theirs, first))
    )
    return predictions.drop_pp(right_n, theirs_n, _CONFIDENCE)


def _doubts(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    found = []
    briefs = [_brief(name, run) for name, run in zip(names, runs, strict=True)]
    others = [one.name for one in briefs if one.images_sha256 != briefs[0].images_sha256]
    if others:
        quoted = words.listing([f"'{name}'" for name in others])
        found.append(
            f"{quoted} and '{names[0]}' were evaluated on different test images: their accuracies "
            "cannot be paired, and may differ by the images alone"
        )
    measured = [one for one in briefs if one.device is not None]
    places = dict.fromkeys(f"{one.device} ({one.machine})" for one in measured)
    if len(places) > 1:
        found.append(f"latencies are of different machines: {words.listing(list(places))}")
    if len(measured) > 1:
        found.append(_TURNS)
    teachers = {run.artifacts[REFERENCE].sha256 for run in runs if REFERENCE in run.artifacts}
    if len(teachers) > 1:
        found.append(_TEACHERS)
    for name, run in zip(names, runs, strict=True):
        found += [f"{name}: {doubt}" for doubt in facts.doubts(run)]
    return found


def _differences(runs: Sequence[Run]) -> Iterator[Difference]:
    recipes = [dict(_leaves(_recipe(run))) for run in runs]
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values = tuple(recipe.get(key, "") for recipe in recipes)
        if len(set(values)) > 1:
            yield Difference(key=key, values=values)


def _recipe(run: Run) -> Any:
    path = run.folder / "recipe.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"'{path}' is not a recipe as JSON: {error}") from error


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield each value with its path: ("stages.0.epochs", "3")."""
    if isinstance(tree, dict | list) and tree:
        for name, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif tree is not None:
        yield key, json.dumps(tree)
