"""Judge a run by rules: passed, failed or inconclusive, each with what speaks for it.

Both answers need evidence: a rule is passed if the interval at its confidence lies on the right
side of the limit, failed if it lies on the wrong side, and inconclusive if the limit is inside.
So of the models that lie exactly at the limit, a share of 1 - confidence passes by luck, and as
many fail by bad luck; "inconclusive" says what would decide. A gate asks for all of its rules, so
more rules and artifacts make a lucky pass rarer still and need no correction.

Whatever cannot be judged (an artifact that was not measured, other images, changed files) is a
``RecordError``, never a pass. Reads records and predictions; needs neither torch nor onnx.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.core import predictions, provenance, records, run_folder, specs, statistics
from edgekd.core.errors import RecordError, UsageError, did_you_mean
from edgekd.core.records import Accuracy, Finding, Interval, Measurement, State, Timing, Verdict
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.gate import text

_TEACHER = "teacher"
_ROUNDING = 1e-9  # of a confidence, by halving and doubling


def judge(rules: specs.Gate, run: Run) -> Verdict:
    """Judge a run's records.

    Args:
        rules: at least one that is not informative.
        run: evaluated and measured as far as the rules ask.

    Raises:
        UsageError: no rule decides anything, or one asks for more confidence than was measured.
        RecordError: what a rule needs is missing, was changed, or does not fit together.
    """
    asked = [rules.top1_drop_pp, rules.latency_ratio, rules.size_ratio]
    if all(rule is None or rule.informative for rule in asked):
        raise UsageError(
            "the gate has no rule that decides: give [gate] one that is not informative, "
            "such as top1_drop_pp = { margin = 1.0 }"
        )
    findings: list[Finding] = []
    if rules.top1_drop_pp is not None:
        findings += _accuracy(rules.top1_drop_pp, run)
    if rules.latency_ratio is not None:
        findings += _latency(rules.latency_ratio, run)
    if rules.size_ratio is not None:
        findings += _size(rules.size_ratio, run)
    return Verdict(
        provenance=provenance.stamp("numpy"),
        parents=_parents(run),
        findings=tuple(findings),
        state=overall([finding.state for finding in findings if not finding.informative]),
    )


def overall(states: Sequence[State]) -> State:
    """Return "passed" only if every one is; a failure outweighs whatever is inconclusive."""
    assert states, "judge() refuses gates without rules, and rules without artifacts"
    if "failed" in states:
        return "failed"
    return "inconclusive" if "inconclusive" in states else "passed"


def side(interval: Interval, limit: float) -> State:
    """Say on which side of the limit the whole interval lies; "inconclusive" if on neither."""
    if interval.high <= limit:
        return "passed"
    return "failed" if interval.low > limit else "inconclusive"


def _accuracy(rule: specs.AccuracyRule, run: Run) -> Iterator[Finding]:
    """Judge by non-inferiority, paired on the same test images."""
    names = _artifacts("top1_drop_pp", rule.artifacts, run)
    teacher = _evaluated(_TEACHER, run)
    folder = run_folder.accuracy(run.folder, _TEACHER).parent
    teacher_n = predictions.correct(teacher, folder)
    for name in names:
        subject = _evaluated(name, run)
        _check_file(name, run)
        _check_images(teacher, subject)
        subject_n = predictions.correct(subject, folder)
        # The upper end of the interval at 2 c - 1 is the one-sided bound at c.
        drop = predictions.drop_pp(teacher_n, subject_n, 2 * rule.confidence - 1)
        state = side(drop, rule.margin)
        doubt = ""
        if state != "failed" and not run.artifacts[name].accuracy_valid:
            state, doubt = "inconclusive", "it was calibrated on random data: take real images"
        elif state == "inconclusive":
            doubt = _images_that_decide(rule, drop, teacher_n, subject_n)
        yield Finding(
            rule="top1_drop_pp",
            artifact=name,
            measured=drop,
            limit=rule.margin,
            unit="pp",
            state=state,
            informative=rule.informative,
            message=text.drop(teacher, subject, drop, rule.margin, state=state, doubt=doubt),
        )


def _latency(rule: specs.RatioRule, run: Run) -> Iterator[Finding]:
    """Judge the ratio of median latencies, measured in turns with the reference.

    What makes a measurement doubtful makes its answer so, a pass as well as a failure.
    """
    names = _artifacts("latency_ratio", rule.artifacts, run)
    measurement = _measurement(run)
    reference = _timing(REFERENCE, run, measurement)
    for name in names:
        timing = _timing(name, run, measurement)
        ratio = timing.ratio_to_first
        if ratio is not None:
            _check_confidence(rule, ratio)
        state: State = "inconclusive"
        if ratio is None:
            doubt = "too few blocks for an interval of the ratio: raise profile.blocks"
        elif measurement.warnings:
            doubt = "; ".join(measurement.warnings)
        else:
            state = side(ratio, rule.limit)
            doubt = "take more blocks or a quieter machine" if state == "inconclusive" else ""
        yield Finding(
            rule="latency_ratio",
            artifact=name,
            measured=ratio,
            limit=rule.limit,
            unit="ratio",
            state=state,
            informative=rule.informative,
            message=text.latency(reference, timing, rule.limit, state=state, doubt=doubt),
        )


def _size(rule: specs.RatioRule, run: Run) -> Iterator[Finding]:
    """Judge the size of the model files, which is exact."""
    if REFERENCE not in run.artifacts:
        raise RecordError(
            f"size_ratio is against '{REFERENCE}', which '{run.folder}' does not have: export it"
        )
    reference = run.artifacts[REFERENCE]
    _check_file(REFERENCE, run)
    for name in _artifacts("size_ratio", rule.artifacts, run):
        artifact = run.artifacts[name]
        _check_file(name, run)
        if min(reference.bytes, artifact.bytes) <= 0:
            raise RecordError(f"'{name}' or '{REFERENCE}' has no bytes, says its record")
        ratio = artifact.bytes / reference.bytes
        measured = Interval(value=ratio, low=ratio, high=ratio, confidence=1.0)
        state = side(measured, rule.limit)
        yield Finding(
            rule="size_ratio",
            artifact=name,
            measured=measured,
            limit=rule.limit,
            unit="ratio",
            state=state,
            informative=rule.informative,
            message=text.size(reference, artifact, rule.limit, name),
        )


def _check_file(name: str, run: Run) -> None:
    """Refuse a model file that is not the one that was judged."""
    artifact = run.artifacts[name]
    records.check_file(run_folder.artifact(run.folder, name) / artifact.file, artifact.sha256)


def _artifacts(rule: str, asked: tuple[str, ...] | None, run: Run) -> list[str]:
    """Return what a rule is for: what it names, or every file that the student was exported to."""
    there = [name for name in run.artifacts if name != REFERENCE]
    for name in asked or ():
        if name not in there:
            raise RecordError(
                f"rule {rule} is for '{name}', which '{run.folder}' does not have."
                + (did_you_mean(name, there) if there else " It has no exported student at all.")
            )
    found = there if asked is None else list(asked)
    if not found:
        raise RecordError(f"rule {rule} has nothing to judge: '{run.folder}' has no such artifact")
    return found


def _evaluated(name: str, run: Run) -> Accuracy:
    """Return the accuracy of a model on the test images, if it is fit to judge by."""
    found = run.accuracies.get(name)
    if found is None:
        raise RecordError(
            f"'{name}' was not evaluated, so rule top1_drop_pp cannot be judged: evaluate it, "
            "or name the artifacts that the rule is for in gate.top1_drop_pp.artifacts"
        )
    if name in run.artifacts:
        sha256 = run.artifacts[name].sha256
    elif name in run.checkpoints:
        sha256 = run.checkpoints[name].weights_sha256
    else:
        raise RecordError(f"'{name}' was evaluated, but '{run.folder}' has no such checkpoint")
    if found.subject_sha256 != sha256:
        raise RecordError(
            f"the accuracy of '{name}' belongs to other weights (SHA-256 "
            f"{found.subject_sha256[:12]}..., now {sha256[:12]}...): evaluate '{name}' again"
        )
    if found.split != "test":
        raise RecordError(
            f"'{name}' was evaluated on the {found.split} images, but the gate reads the test "
            "images alone: choices have read the others"
        )
    _check_unread(found, run)
    return found


def _check_unread(accuracy: Accuracy, run: Run) -> None:
    """Refuse images that a choice (of weights, an epoch, ranges) has read."""
    for name, checkpoint in run.checkpoints.items():
        if checkpoint.data is None:
            continue
        for split, sha256 in checkpoint.data.sha256.items():
            if split != "test" and sha256 == accuracy.images_sha256:
                raise RecordError(
                    f"'{accuracy.subject}' was evaluated on the very images that '{name}' has "
                    f"read for {split}: evaluate it on test images that no choice has read"
                )


def _check_images(teacher: Accuracy, subject: Accuracy) -> None:
    if (teacher.images_sha256, teacher.images) != (subject.images_sha256, subject.images):
        raise RecordError(
            f"'{subject.subject}' and '{teacher.subject}' were evaluated on different images "
            f"({subject.images} with SHA-256 {subject.images_sha256[:12]}..., and "
            f"{teacher.images} with {teacher.images_sha256[:12]}...): evaluate both on the same"
        )


def _images_that_decide(
    rule: specs.AccuracyRule,
    drop: Interval,
    teacher_n: NDArray[np.bool_],
    subject_n: NDArray[np.bool_],
) -> str:
    images = len(teacher_n)
    needed = statistics.images_needed(
        rule.margin / 100,
        sum(predictions.discordant(teacher_n, subject_n)) / images,
        drop=drop.value / 100,
        confidence=rule.confidence,
    )
    return text.images_that_decide(images, needed)


def _measurement(run: Run) -> Measurement:
    if run.measurement is None:
        raise RecordError(
            f"'{run.folder}' has no latency measurement, so rule latency_ratio cannot be judged"
        )
    first = run.measurement.timings[0].subject if run.measurement.timings else "nothing"
    if first != REFERENCE:
        raise RecordError(
            f"latency was measured against '{first}', but rule latency_ratio is against "
            f"'{REFERENCE}': measure that first"
        )
    samples = run_folder.measurement(run.folder) / run.measurement.samples_file
    records.check_file(samples, run.measurement.samples_sha256)
    return run.measurement


def _timing(name: str, run: Run, measurement: Measurement) -> Timing:
    for timing in measurement.timings:
        if timing.subject == name:
            if name not in run.artifacts or timing.sha256 != run.artifacts[name].sha256:
                raise RecordError(
                    f"the latency of '{name}' belongs to another file: measure '{name}' again"
                )
            return timing
    raise RecordError(
        f"the latency of '{name}' was not measured, so rule latency_ratio cannot be judged: "
        "measure it, or name the artifacts that the rule is for in gate.latency_ratio.artifacts"
    )


def _check_confidence(rule: specs.RatioRule, ratio: Interval) -> None:
    measured = (1 + ratio.confidence) / 2
    if rule.confidence > measured + _ROUNDING:
        raise UsageError(
            f"gate.latency_ratio.confidence is {rule.confidence:g}, but latency was measured for "
            f"at most {measured:g}"
        )


def _parents(run: Run) -> tuple[str, ...]:
    found = [checkpoint.weights_sha256 for checkpoint in run.checkpoints.values()]
    found += [artifact.sha256 for artifact in run.artifacts.values()]
    found += [accuracy.predictions_sha256 for accuracy in run.accuracies.values()]
    found += [run.measurement.samples_sha256] if run.measurement else []
    return tuple(found)
