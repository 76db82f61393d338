"""What the training was worth: against the cut, against the labels alone, and in time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgekd.core.records import Interval, Rung, Training
from edgekd.core.run_folder import Run, is_control
from edgekd.report import words

_TAUGHT = "distilled"  # the stage of checkpoints that were trained, the teacher's apart
_TEACHES = "teacher"  # also the stage of a teacher that has learnt from the student
_SAME = 0.005  # of the time: less is rounded away
_COSTS = {"pruning": {"pruned", "recalibrated"}, "quantisation": {"quantized"}}


@dataclass(frozen=True)
class Course:
    """Top-1 on the validation images over the time that training has taken.

    Times are those of training steps and of the teacher's answers that were computed beforehand;
    scoring the validation images is not among them.
    """

    seconds: tuple[float, ...]
    top1_percent: tuple[float, ...]

    def reaches(self, percent: float) -> float | None:
        """Return after how many seconds it is first so good; None: never."""
        pairs = zip(self.seconds, self.top1_percent, strict=True)
        return next((seconds for seconds, top1 in pairs if top1 >= percent), None)


@dataclass(frozen=True)
class TimeToTarget:
    """When each arm is first as good as the labels alone ever get on the validation images."""

    target_percent: float
    control_s: float
    distilled_s: float | None  # None: never

    @property
    def saving_ratio(self) -> float | None:
        """Share of the control's time that distilling saves; below 0: it takes longer."""
        if self.distilled_s is None or not self.control_s:
            return None
        return 1 - self.distilled_s / self.control_s


def recovery_ratio(run: Run) -> float | None:
    """Return R = (acc_final - acc_cut) / (acc_teacher - acc_cut), top-1 on the test images.

    acc_cut is that of the checkpoint which training started from (after several cuts, of the worst
    of these), acc_final that of the last checkpoint. R = 1: as good as the teacher; below 0: worse
    than the cut.

    Returns:
        None if the cut cost nothing beyond chance (the paired interval of its drop includes 0), or
        was not evaluated, or if the student is another architecture.
    """
    rungs = _rungs(run)
    cuts = [rung for rung in _starts(run, rungs) if run.checkpoints[rung.name].stage != "initial"]
    if not cuts:
        return None
    cut = min(cuts, key=lambda rung: rung.accuracy.value)
    if cut.drop_pp is None or cut.drop_pp.low <= 0:
        return None
    teacher, final = rungs[0].accuracy.value, rungs[-1].accuracy.value
    return (final - cut.accuracy.value) / (teacher - cut.accuracy.value)


def recovery_sentence(run: Run) -> str | None:
    """Say how much of what the cut cost the stages won back."""
    ratio = recovery_ratio(run)
    if ratio is None:
        return None
    shown = f"(R = {words.fixed(ratio, 2)})"
    kinds = {run.checkpoints[rung.name].stage for rung in _rungs(run)}
    what = words.listing(
        [word for word, found in _COSTS.items() if not kinds.isdisjoint(found)] or ["the cut"]
    )
    if ratio <= 0:
        return f"The stages won back nothing of what {what} cost {shown}."
    if ratio > 1:
        return f"The stages won back more than {what} cost {shown}."
    return f"The stages won back {words.share(ratio)} of what {what} cost {shown}."


def gain_sentence(run: Run) -> str | None:
    """Say what distilling added to the labels alone, on the test images."""
    control = run.ladder.control if run.ladder else None
    if control is None:
        return None
    gain = control.gain_pp
    if gain.low > 0:
        text = "Distilling is worth"
    elif gain.high < 0:
        text = "Distilling did harm:"
    else:
        text = "Distilling made no difference beyond chance:"
    return (
        f"{text} {_pp(gain)} of top-1, '{control.against}' against the same student taught by the "
        "labels alone."
    )


def time_sentence(run: Run) -> str | None:
    """Say how long distilling took to be as good as the labels alone ever get."""
    found = time_to_target(run)
    if found is None:
        distilled, control = courses(run)
        if control is None or distilled is not None:
            return None
        return (
            "How long distilling took to be as good as the labels alone is not known: no labels "
            "scored the network that it ended with."
        )
    target = f"{words.fixed(found.target_percent, 2)} % of the validation images"
    if not found.control_s:
        return f"The labels alone never got beyond the {target} that the student started with."
    took = f"the labels alone took {words.duration(found.control_s)} to get there"
    if found.distilled_s is None:
        return f"Distilling never reached {target}; {took}, their best."
    ratio = found.saving_ratio
    assert ratio is not None
    change = f"{words.share(abs(ratio))} {'less' if ratio > 0 else 'more'} time"
    if abs(ratio) < _SAME:
        change = "as long"
    reached = f"Distilling reached {target} after {words.duration(found.distilled_s)}"
    return f"{reached}; {took}, their best: {change}."


def time_to_target(run: Run) -> TimeToTarget | None:
    """Compare when both arms are first as good as the control's best; None: one has no course."""
    distilled, control = courses(run)
    if distilled is None or control is None:
        return None
    target = max(control.top1_percent)
    reached = control.reaches(target)
    assert reached is not None
    return TimeToTarget(target, reached, distilled.reaches(target))


def courses(run: Run) -> tuple[Course | None, Course | None]:
    """Return the course of the stages and that of the control arm; None: there is none.

    Epochs of the teacher, of a network that is still to be cut, and those that are not scored by
    labels, take their time, but are no points of it.
    """
    stages = [name for name in run.trainings if name != "teacher"]
    return (
        _course(run, [name for name in stages if not is_control(name)]),
        _course(run, [name for name in stages if is_control(name)]),
    )


def shock_ratio(training: Training) -> float | None:
    """Return the gradient-shock ratio of a stage; None: its backbone had no gradient.

    It is the largest norm of the backbone's gradient in the stage's first 100 steps over the
    median of its last epoch.
    """
    early = [e.early_backbone_norm for e in training.epochs if e.early_backbone_norm is not None]
    last = training.epochs[-1].backbone_norm if training.epochs else None
    return max(early) / last if early and last else None


def shock_sentence(training: Training) -> str | None:
    """Say how hard a stage began, and how far its first epoch moved the features."""
    ratio = shock_ratio(training)
    drift = training.epochs[0].feature_drift if training.epochs else None
    found = []
    if ratio is not None:
        found.append(
            f"the hardest of its first 100 steps pulled at the backbone "
            f"{words.three_digits(ratio)} times as strongly as those of its last epoch "
            "(gradient shock)"
        )
    if drift is not None:
        found.append(
            "its first epoch changed what the classifier reads by "
            f"{words.fixed(drift, 4)} on a scale from 0 to 1 (feature drift, 1 - linear CKA)"
        )
    if not found:
        return None
    text = "; ".join(found)
    return f"{text[0].upper()}{text[1:]}."


def _rungs(run: Run) -> list[Rung]:
    """Return the teacher's rung, then those of the student's checkpoints."""
    rungs = [
        rung for rung in (run.ladder.rungs if run.ladder else ()) if rung.name in run.checkpoints
    ]
    return rungs[:1] + [r for r in rungs[1:] if run.checkpoints[r.name].stage != _TEACHES]


def _starts(run: Run, rungs: Sequence[Rung]) -> list[Rung]:
    """Return the rungs that a training of the student started from."""
    stages = [run.checkpoints[rung.name].stage for rung in rungs]
    return [
        rung
        for place, rung in enumerate(rungs[:-1])
        if place and stages[place] != _TAUGHT and stages[place + 1] == _TAUGHT
    ]


def _course(run: Run, names: Iterable[str]) -> Course | None:
    clock_s = 0.0
    begun: list[tuple[float, float]] = []
    points: list[tuple[float, float]] = []
    trained = [(name, run.trainings[name]) for name in names if name in run.checkpoints]
    students = [name for name, _ in trained if run.checkpoints[name].stage == _TAUGHT]
    if not students:
        return None
    macs = run.checkpoints[students[-1]].macs
    for name, training in trained:
        compares = name in students and run.checkpoints[name].macs == macs
        if name == students[0] and compares:
            begun = _start(run, name)
        clock_s += training.cache_seconds
        for epoch in training.epochs:
            clock_s += epoch.train_seconds
            if compares and epoch.validation_top1_percent is not None:
                points.append((clock_s, epoch.validation_top1_percent))
    if not points:
        return None
    seconds, top1_percent = zip(*begun, *points, strict=True)
    return Course(seconds, top1_percent)


def _start(run: Run, name: str) -> list[tuple[float, float]]:
    """Return the point that a stage's student started from, at 0 s, if it is known."""
    parents = run.checkpoints[name].parents
    for found in run.checkpoints.values():
        if found.weights_sha256 in parents[:1] and found.validation_top1_percent is not None:
            return [(0.0, found.validation_top1_percent)]
    return []


def _pp(interval: Interval) -> str:
    digits = words.digits_apart([interval], least=2)
    return f"{words.signed(interval.value, digits)} pp {words.bounds(interval, digits)}"
