"""The stage ladder: top-1 after every step, on the same test images, and which step to blame.

A step is blamed if it is significantly worse than the rung above, and no later training wins that
back. So pruning that falls to 10 % is not to blame if fine-tuning mends it, but is if the trained
student still lies below the rung above the cut. What an exported file loses, nothing wins back.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.core import predictions, provenance, run_folder, statistics
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy, Artifact, Checkpoint, Control, Ladder, Rung
from edgekd.core.run_folder import CONTROL, REFERENCE, Run, is_control

_LEVEL = 0.05  # of all steps together (Holm), and of a step's rung above against the end
_CONFIDENCE = 0.95  # two-sided


@dataclass(frozen=True)
class Foothold:
    """What is known of one step before it is compared."""

    name: str
    accuracy: Accuracy
    correct_n: NDArray[np.bool_]  # which images are right; see ``predictions.correct``
    macs: int
    bytes: int
    trainable: bool  # a checkpoint; False: an exported file, from which nothing is made


def ladder(footholds: Sequence[Foothold]) -> Ladder:
    """Compare every step with the teacher and with the step above.

    Args:
        footholds: at least one; the first is the teacher.

    Raises:
        RecordError: they were not evaluated on the same images.
    """
    _check_images(footholds)
    steps = list(itertools.pairwise(footholds))
    p_values = [_p_value(above, below) for above, below in steps]
    adjusted = statistics.holm(p_values)
    blamed = [
        below.name
        for place, (above, below) in enumerate(steps)
        if adjusted[place] < _LEVEL
        and _is_below(below, above)
        and not _won_back(above, footholds[place + 1 :])
    ]
    return Ladder(
        provenance=provenance.stamp("numpy"),
        parents=tuple(foothold.accuracy.predictions_sha256 for foothold in footholds),
        rungs=tuple(
            _rung(foothold, None if place == 0 else footholds[0], p_value)
            for place, (foothold, p_value) in enumerate(
                zip(footholds, [None, *p_values], strict=True)
            )
        ),
        blamed=blamed[0] if blamed else None,
    )


def footholds(run: Run) -> list[Foothold]:
    """Read the steps of a run: teacher, its file, the other checkpoints, the student's files.

    Behind a file that a board has made an engine of comes the engine.

    Raises:
        RecordError: a step was not evaluated, or its predictions were changed.
    """
    if "teacher" not in run.checkpoints:
        raise RecordError(f"'{run.folder}' has no checkpoint 'teacher', where the ladder begins")
    teachers = ["teacher", *(name for name in run.artifacts if name == REFERENCE)]
    students = [name for name in _checkpoints(run) if name not in teachers]
    for name in run.students:
        students += [name, *([run_folder.engine(name)] if name in run.engines else [])]
    return [_foothold(run, name) for name in [*teachers, *students]]


def control(run: Run) -> Control | None:
    """Compare the last stage's student with the one that the labels alone have taught.

    Returns:
        None if the run has no such student.

    Raises:
        RecordError: one of them was not evaluated, or not on the same images as the teacher.
    """
    if CONTROL not in run.checkpoints:
        return None
    last = [name for name in _checkpoints(run) if run.checkpoints[name].stage != "teacher"][-1]
    teacher, end, arm = (_foothold(run, name) for name in ("teacher", last, CONTROL))
    _check_images([teacher, end, arm])
    return Control(
        rung=_rung(arm, teacher, None),
        against=last,
        gain_pp=predictions.drop_pp(end.correct_n, arm.correct_n, _CONFIDENCE),
    )


def _checkpoints(run: Run) -> list[str]:
    """Return the checkpoints on the ladder."""
    return [
        name
        for name, found in run.checkpoints.items()
        # A stage may have taught the teacher anew: that is no step of the student's.
        if not is_control(name) and (found.stage != "teacher" or name == "teacher")
    ]


def _foothold(run: Run, name: str) -> Foothold:
    if name not in run.accuracies:
        raise RecordError(f"the ladder needs the accuracy of '{name}': evaluate it first")
    accuracy = run.accuracies[name]
    folder = run_folder.accuracy(run.folder, name).parent
    engines = {run_folder.engine(artifact): artifact for artifact in run.engines}
    artifact = run.artifacts.get(engines.get(name, name))
    if artifact is None:
        checkpoint, size = run.checkpoints[name], _weights_bytes(run, name)
    else:
        checkpoint = _origin(run, artifact)
        size = run.engines[engines[name]].bytes if name in engines else artifact.bytes
    return Foothold(
        name=name,
        accuracy=accuracy,
        correct_n=predictions.correct(accuracy, folder),
        macs=checkpoint.macs,
        bytes=size,
        trainable=artifact is None,
    )


def _check_images(footholds: Sequence[Foothold]) -> None:
    first = footholds[0].accuracy
    for foothold in footholds:
        other = foothold.accuracy
        if (other.images_sha256, other.images) != (first.images_sha256, first.images):
            raise RecordError(
                f"'{foothold.name}' and '{footholds[0].name}' were evaluated on different images "
                f"({other.images} with SHA-256 {other.images_sha256[:12]}..., and {first.images} "
                f"with {first.images_sha256[:12]}...): evaluate both on the same"
            )


def _rung(foothold: Foothold, teacher: Foothold | None, p_value: float | None) -> Rung:
    drop = None
    if teacher is not None:
        drop = predictions.drop_pp(teacher.correct_n, foothold.correct_n, _CONFIDENCE)
    return Rung(
        name=foothold.name,
        accuracy=foothold.accuracy.top1_percent,
        drop_pp=drop,
        step_p_value=p_value,
        macs=foothold.macs,
        bytes=foothold.bytes,
    )


def _p_value(above: Foothold, below: Foothold) -> float:
    return statistics.mcnemar_exact(*predictions.discordant(above.correct_n, below.correct_n))


def _is_below(one: Foothold, other: Foothold) -> bool:
    return bool(one.correct_n.sum() < other.correct_n.sum())


def _won_back(above: Foothold, later: Sequence[Foothold]) -> bool:
    """Say whether training after the first of ``later`` ends where nothing more is missing."""
    if not later[0].trainable:
        return False
    end = [foothold for foothold in later if foothold.trainable][-1]
    return not _is_below(end, above) or _p_value(above, end) >= _LEVEL


def _origin(run: Run, artifact: Artifact) -> Checkpoint:
    """Return the checkpoint that a file was exported from."""
    for checkpoint in run.checkpoints.values():
        if checkpoint.weights_sha256 in artifact.parents:
            return checkpoint
    raise RecordError(
        f"'{artifact.file}' for {artifact.target} was exported from none of this run's "
        f"checkpoints ({', '.join(run.checkpoints)}): export it again"
    )


def _weights_bytes(run: Run, name: str) -> int:
    path = run_folder.checkpoint(run.folder, name) / "model.safetensors"
    if not path.is_file():
        raise RecordError(f"'{path}' is missing, though its record is there")
    return path.stat().st_size
