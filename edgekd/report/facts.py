"""What a run's records say, in the order and words that terminal and page share."""

from dataclasses import dataclass

from edgekd.core import manifest
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy, Finding, Interval, Rung, State, Timing
from edgekd.core.run_folder import REFERENCE, Run, is_teachers
from edgekd.report import words

_TENSORRT = "tensorrt"  # how its targets and its engine are named
_LEAST_P = 0.001
_SAME_MACS = 0.995  # a share above it is rounding, not pruning


@dataclass(frozen=True)
class Latency:
    """One artifact's latency beside the work that it does."""

    timing: Timing
    macs_ratio: float | None  # to the first artifact of the measurement; None: unknown


@dataclass(frozen=True)
class Student:
    """What is known of one of the student's artifacts, against the teacher."""

    name: str
    accuracy: Interval | None  # top-1 in percent
    drop_pp: Interval | None
    latency: Timing | None
    size_ratio: float | None
    macs_ratio: float | None
    state: State | None  # over its deciding findings; None: no rule is about it


def latencies(run: Run) -> list[Latency]:
    """Return the measured artifacts, the reference first."""
    timings = run.measurement.timings if run.measurement else ()
    if not timings:
        return []
    first = macs_of(run, timings[0].subject, timings[0].sha256)
    found = []
    for timing in timings:
        mine = macs_of(run, timing.subject, timing.sha256)
        found.append(Latency(timing, mine / first if mine and first else None))
    return found


def macs_of(run: Run, subject: str, sha256: str) -> int | None:
    """Return the multiply-accumulates of an artifact: the ladder's, else its checkpoint's."""
    for rung in run.ladder.rungs if run.ladder else ():
        if rung.name == subject:
            return rung.macs
    for name, artifact in run.artifacts.items():
        if name == subject or artifact.sha256 == sha256:
            for checkpoint in run.checkpoints.values():
                if checkpoint.weights_sha256 in artifact.parents:
                    return checkpoint.macs
    return None


def students(run: Run) -> list[Student]:
    """Return the student's artifacts in the order of their making."""
    reference = run.artifacts.get(REFERENCE)
    rungs = {rung.name: rung for rung in run.ladder.rungs} if run.ladder else {}
    measured = {item.timing.subject: item for item in latencies(run)}
    found = []
    for name in run.students:
        artifact = run.artifacts[name]
        rung, latency = rungs.get(run.shipped(name)), measured.get(name)
        accuracy = run.accuracies.get(run.shipped(name))
        found.append(
            Student(
                name=name,
                accuracy=accuracy.top1_percent if accuracy else None,
                drop_pp=rung.drop_pp if rung else None,
                latency=latency.timing if latency else None,
                size_ratio=artifact.bytes / reference.bytes if reference else None,
                macs_ratio=_macs_ratio(run, name, artifact.sha256),
                state=_state(run, name),
            )
        )
    return found


def evaluation(run: Run) -> Accuracy | None:
    """Return the accuracy record that the ladder's images are described by, the first one."""
    for rung in run.ladder.rungs if run.ladder else ():
        if rung.name in run.accuracies:
            return run.accuracies[rung.name]
    return next(iter(run.accuracies.values()), None)


def pair(run: Run) -> tuple[str, str] | None:
    """Return the names of teacher and final student, if both were evaluated."""
    rungs = [rung.name for rung in run.ladder.rungs] if run.ladder else list(run.accuracies)
    theirs = {"teacher", REFERENCE, *(name for name in run.artifacts if is_teachers(name))}
    theirs |= {run.shipped(name) for name in theirs}
    found = [name for name in rungs if name in run.accuracies and name not in theirs]
    teacher = "teacher" if "teacher" in run.accuracies else REFERENCE
    return (teacher, found[-1]) if found and teacher in run.accuracies else None


def verdict_line(run: Run) -> str:
    """Return the verdict in one line."""
    if run.verdict is None:
        return "verdict: none, for the run was not judged yet"
    deciding = [finding for finding in run.verdict.findings if not finding.informative]
    parts = []
    for state in ("failed", "inconclusive", "passed"):
        count = sum(finding.state == state for finding in deciding)
        if count:
            parts.append(f"{count} {state}")
    return (
        f"verdict: {run.verdict.state} ({words.listing(parts)})"
        if parts
        else (f"verdict: {run.verdict.state}")
    )


def blame(run: Run) -> str | None:
    """Return which step of the ladder costs accuracy for good, as a sentence."""
    if run.ladder is None or run.ladder.blamed is None:
        return None
    rungs = run.ladder.rungs
    place = next((i for i, rung in enumerate(rungs) if rung.name == run.ladder.blamed), 0)
    if place == 0:
        return f"'{run.ladder.blamed}' costs accuracy that no later step wins back."
    above, below = rungs[place - 1], rungs[place]
    lost_pp = above.accuracy.value - below.accuracy.value
    return (
        f"The step to '{below.name}' costs {words.fixed(lost_pp, 2)} pp against '{above.name}' "
        f"({_evidence(below)}), and no later step wins it back."
    )


def speed_sentences(run: Run) -> list[str]:
    """Say for each artifact but the first what was bought in latency."""
    return [
        _speed_sentence(run, item)
        for item in latencies(run)
        if item.timing.ratio_to_first is not None
    ]


def doubts(run: Run) -> list[str]:
    """Return all that speaks against the numbers, as sentences without repetition."""
    found = list(run.ladder.doubts) if run.ladder else []
    try:
        manifest.check_records(run)
    except RecordError as error:
        found.append(str(error))
    found += _measurement_doubts(run)
    for name, artifact in run.artifacts.items():
        if not artifact.accuracy_valid:
            found.append(f"'{name}' was calibrated on random data: its accuracy means nothing")
        if artifact.parity.state != "passed":
            found.append(
                f"'{name}' does not follow its checkpoint closely enough: relative error "
                f"{artifact.parity.relative_error:.3g}, tolerance {artifact.parity.tolerance:.3g}"
            )
    for name, built in run.engines.items():
        for origin, each in (
            ("its checkpoint", built.parity.to_checkpoint),
            ("its file in ONNX Runtime", built.parity.to_file),
        ):
            if each.state != "passed":
                found.append(
                    f"the engine of '{name}' on {built.parity.device} does not follow {origin} "
                    f"closely enough: relative error {each.relative_error:.3g}, tolerance "
                    f"{each.tolerance:.3g}"
                )
    return list(dict.fromkeys(found))


def p_value_text(p_value: float) -> str:
    """Return "p = 0.031" or "p < 0.001"."""
    return "p < 0.001" if p_value < _LEAST_P else f"p = {p_value:.3f}"


def sort_findings(findings: tuple[Finding, ...]) -> list[Finding]:
    """Return what decides before what is informative, keeping the order within each."""
    return sorted(findings, key=lambda finding: finding.informative)


def _macs_ratio(run: Run, subject: str, sha256: str) -> float | None:
    reference = run.artifacts.get(REFERENCE)
    mine = macs_of(run, subject, sha256)
    teachers = macs_of(run, REFERENCE, reference.sha256) if reference else None
    return mine / teachers if mine and teachers else None


def _state(run: Run, artifact: str) -> State | None:
    states = [
        finding.state
        for finding in (run.verdict.findings if run.verdict else ())
        if finding.artifact == artifact and not finding.informative
    ]
    worst: tuple[State, ...] = ("failed", "inconclusive", "passed")
    return next((state for state in worst if state in states), None)


def _measurement_doubts(run: Run) -> list[str]:
    """Return what speaks against the measurement, and against one that only the verdict knows."""
    measured = run.measurement
    known = measured.doubts if measured else ()
    found = [f"latency: {warning}" for warning in measured.warnings] if measured else []
    if measured and measured.energy:
        found += [f"energy: {doubt}" for doubt in measured.energy.doubts]
    findings = run.verdict.findings if run.verdict else ()
    told = dict.fromkeys(doubt for finding in findings for doubt in finding.doubts)
    return found + [f"the verdict's measurement: {doubt}" for doubt in told if doubt not in known]


def _evidence(rung: Rung) -> str:
    p_value = rung.step_p_value
    return "paired on the same images" if p_value is None else f"McNemar {p_value_text(p_value)}"


def _speed_sentence(run: Run, item: Latency) -> str:
    assert run.measurement is not None
    artifact = run.artifacts.get(item.timing.subject)
    engine = run.measurement.engine
    if (
        artifact
        and artifact.target.startswith(_TENSORRT)
        and not engine.lower().startswith(_TENSORRT)
    ):
        return (
            f"'{item.timing.subject}' is written for TensorRT, so its latency with "
            f"{engine.partition(',')[0]} on {run.measurement.device} says nothing about it."
        )
    assert item.timing.ratio_to_first is not None
    ratio, name = item.timing.ratio_to_first, item.timing.subject
    first = run.measurement.timings[0].subject
    whose = "the teacher's" if first == REFERENCE else f"that of '{first}'"
    head = f"'{name}': "
    if item.macs_ratio is not None:
        head += f"{words.share(item.macs_ratio)} of the MACs, "
        head += "and" if ratio.high < 1 else "but"
    measured = f"latency is {_times(ratio)} {whose}"
    doubtful = " (doubtful: see the warnings)" if run.measurement.warnings else ""
    return f"{head.removesuffix(' ')} {measured}: {_what_it_bought(run, item, ratio)}{doubtful}."


def _times(ratio: Interval) -> str:
    digits = words.digits_apart([ratio], least=2)
    return f"{words.fixed(ratio.value, digits)}x {words.bounds(ratio, digits)}"


def _what_it_bought(run: Run, item: Latency, ratio: Interval) -> str:
    measure = _measure(run, item)
    assert run.measurement is not None
    where = f"on {run.measurement.device}"
    if ratio.low > 1:
        return f"{measure} made it slower {where}"
    if ratio.high >= 1:
        return f"{measure} bought nothing {where}"
    if item.macs_ratio is not None and ratio.low > item.macs_ratio:
        return f"faster {where}, though by less than the MACs promise"
    return f"faster {where}"


def _measure(run: Run, item: Latency) -> str:
    """Name what was done to the artifact."""
    done = []
    if item.macs_ratio is not None and item.macs_ratio < _SAME_MACS:
        done.append("pruning")
    artifact = run.artifacts.get(item.timing.subject)
    if artifact is not None and artifact.quantised_layers:
        done.append("INT8")
    elif artifact is not None and artifact.precision == "fp16":
        done.append("FP16")
    return words.listing(done) if done else "the change"
