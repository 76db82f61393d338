"""Do a run again from its own recipe, and compare: bit by bit where that must be, else by the gate.

On the same machine with the same packages, a CPU computes the same bits; so does a GPU with
``deterministic = true``. Elsewhere rounding differs, training multiplies the difference, and what
can be asked is whether the accuracy is the same: the interval of the difference, paired by image,
must lie within the gate's margin on both sides.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.core import files, manifest, predictions, provenance, records, run_folder, specs
from edgekd.core.errors import CheckpointError, DataError, RecordError
from edgekd.core.manifest import Manifest
from edgekd.core.progress import Progress
from edgekd.core.records import Finding, Provenance, State
from edgekd.core.run_folder import Run
from edgekd.core.specs import Recipe
from edgekd.gate import decide
from edgekd.pipeline import verify

log = logging.getLogger(__name__)

_MARGIN_PP, _CONFIDENCE = 1.0, 0.95  # where the gate has no rule for top-1


@dataclass(frozen=True)
class Comparison:
    """What became of one model, or of one finding of the verdict."""

    subject: str  # "deep", "onnx-int8", "latency_ratio of onnx-int8"
    state: State
    message: str  # one line for people


@dataclass(frozen=True)
class Reproduction:
    """A run beside the one that was done again."""

    folder: Path  # of the new run
    state: State
    environment: tuple[str, ...]  # what differs, before anything is computed
    must_be_equal: bool  # bit by bit
    comparisons: tuple[Comparison, ...]  # from the teacher to the verdict


def reproduce(run: Path, out: Path, *, progress: Progress | None = None) -> Reproduction:
    """Do a run again in another folder, and compare it with the first.

    Args:
        run: the folder of a finished run; nothing in it is changed.
        out: of the new run; empty or missing.
        progress: who listens; default: nobody.

    Raises:
        RecordError: the run is not finished or not intact.
        DataError: the images are not those of the run.
        CheckpointError: the teacher's weights are not those of the run.
        EdgekdError: whatever a run may raise.
    """
    from edgekd.pipeline import run as job  # torch: only now

    found = verify.verify(run)
    if found.state != "intact":
        raise RecordError(f"'{run}' is {found.state}: see `edgekd verify {run}`")
    kept = records.read(Manifest, run / manifest.FILE)
    for difference in environment(kept.provenance, provenance.environment()):
        log.warning("not as it was: %s", difference)
    recipe = _recipe(run, kept)
    _check_weights(recipe, run_folder.read(run))
    _check_images(recipe, kept)
    job.run(recipe, out, name=kept.recipe, progress=progress)
    return compare(run, out)


def compare(first: Path, second: Path) -> Reproduction:
    """Compare two finished runs of one recipe.

    Raises:
        RecordError: a record or a file of predictions is missing or was changed.
    """
    old, new = run_folder.read(first), run_folder.read(second)
    kept, again = (records.read(Manifest, folder / manifest.FILE) for folder in (first, second))
    recipe = _recipe(first, kept)
    differences = (*environment(kept.provenance, again.provenance), *_decisions(old, new))
    if kept.device != again.device:
        differences = (*differences, f"device: {kept.device}, now {again.device}")
    exact = kept.device == "cpu" or recipe.training.deterministic
    must_be_equal = exact and not differences
    rule = recipe.gate.top1_drop_pp
    margin_pp = rule.margin if rule else _MARGIN_PP
    confidence = rule.confidence if rule else _CONFIDENCE
    comparisons = [
        _model(name, old, new, margin_pp, confidence, must_be_equal=must_be_equal)
        for name in (*old.checkpoints, *old.artifacts)
    ]
    comparisons += _verdict(old, new)
    return Reproduction(
        folder=second,
        state=decide.overall([comparison.state for comparison in comparisons]),
        environment=differences,
        must_be_equal=must_be_equal,
        comparisons=tuple(comparisons),
    )


def environment(then: Provenance, now: Provenance) -> tuple[str, ...]:
    """Say in which packages and machine two runs differ."""
    names = sorted({*then.versions, *now.versions})
    pairs = [(name, then.versions.get(name), now.versions.get(name)) for name in names]
    pairs.append(("machine", then.machine, now.machine))
    return tuple(
        f"{name}: {before or 'not there'}, now {after or 'not there'}"
        for name, before, after in pairs
        if before != after
    )


def _recipe(run: Path, kept: Manifest) -> Recipe:
    tree = json.loads((run / manifest.RECIPE).read_text(encoding="utf-8"))
    return specs.parse(tree, kept.recipe)


def _decisions(old: Run, new: Run) -> Iterator[str]:
    """Yield what the trainings decided in another way: AMP, compiling, warm-up."""
    for name in old.trainings.keys() & new.trainings.keys():
        before, after = old.trainings[name].notes, new.trainings[name].notes
        for note in after:
            if note not in before:
                yield f"{name}: now {note}"


def _check_weights(recipe: Recipe, run: Run) -> None:
    """Check the teacher's weights before they are needed."""
    path = recipe.teacher.weights
    if path is None or not path.is_file():  # the run itself says what is missing
        return
    found = files.sha256_of(path)
    if found not in run.checkpoints["teacher"].parents:
        raise CheckpointError(
            f"'{path}' is not the file that the run has read: its SHA-256 is {found}, expected "
            f"{', '.join(run.checkpoints['teacher'].parents)}"
        )


def _check_images(recipe: Recipe, kept: Manifest) -> None:
    from edgekd.data import sources

    found = sources.load(recipe.data, seed=recipe.training.seed).identity()
    for split, sha256 in (kept.data.sha256 if kept.data else {}).items():
        if found.sha256[split] != sha256:
            raise DataError(
                f"the {split} images of '{recipe.data.source}' are not those of the run: their "
                f"SHA-256 is {found.sha256[split]}, expected {sha256}"
            )


def _model(
    name: str, old: Run, new: Run, margin_pp: float, confidence: float, *, must_be_equal: bool
) -> Comparison:
    """Compare one checkpoint or artifact: its bits, else its answers."""
    if _sha256(old, name) == _sha256(new, name):
        message = "bit by bit the same"
        if _answers(old, name) == _answers(new, name):
            return Comparison(name, "passed", message)
    elif must_be_equal:
        return Comparison(
            name,
            "failed",
            "not bit by bit the same, though machine and packages are: did the number of threads "
            "change (OMP_NUM_THREADS), or does the data or a model of yours draw without the seed?",
        )
    before, after = _correct(old, name), _correct(new, name)
    drop = predictions.drop_pp(before, after, 2 * confidence - 1)
    state: State = "inconclusive"
    if -margin_pp < drop.low and drop.high < margin_pp:
        state = "passed"
    elif drop.low > margin_pp or drop.high < -margin_pp:
        state = "failed"
    message = f"top-1 lies {drop.value:+.2f} pp [{drop.low:+.2f}, {drop.high:+.2f}] below the first"
    return Comparison(name, state, f"{message}, allowed are {margin_pp:g} pp on both sides")


def _sha256(run: Run, name: str) -> tuple[str | None, ...]:
    """Return the hashes of all that a model's answers depend on."""
    if name in run.artifacts:
        return (run.artifacts[name].sha256,)
    found = run.checkpoints[name]
    return found.weights_sha256, found.surgery_sha256, found.quantisation_sha256


def _answers(run: Run, name: str) -> list[int]:
    labels_predictions = predictions.labelled(run.accuracies[name], run.folder / "accuracy")
    return [int(answer) for answer in labels_predictions[1]]


def _correct(run: Run, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return predictions.correct(run.accuracies[name], run.folder / "accuracy")


def _verdict(old: Run, new: Run) -> Iterator[Comparison]:
    """Compare each finding that decides; one that is inconclusive now or then decides nothing."""
    if old.verdict is None or new.verdict is None:
        raise RecordError("a run without a verdict cannot be compared: finish it with --resume")
    now = {_key(finding): finding for finding in new.verdict.findings}
    for before in old.verdict.findings:
        if before.informative:
            continue
        after = now.get(_key(before))
        state: State = "failed"
        if after is not None and after.state == before.state:
            state = "passed"
        elif after is not None and "inconclusive" in {before.state, after.state}:
            state = "inconclusive"
        outcome = "not judged" if after is None else after.state
        yield Comparison(" of ".join(_key(before)), state, f"{before.state} then, {outcome} now")


def _key(finding: Finding) -> tuple[str, str]:
    return finding.rule, finding.artifact
