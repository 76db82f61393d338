"""Rules about answers: paired with the teacher's, on the same test images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgekd.core import bootstrap, p_values, predictions, rules, run_folder, statistics
from edgekd.core.errors import RecordError
from edgekd.core.records import Accuracy, Finding, Interval, State
from edgekd.core.run_folder import Run
from edgekd.gate import text
from edgekd.gate.decide import finding, side, side_above
from edgekd.gate.evidence import TEACHER, Evidence

T = TypeVar("T")
Counts = tuple[int, int, int]  # images lost, gained, all


def top1_drop(rule: rules.AccuracyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the drop of top-1 by non-inferiority."""
    yield from _drop("top1_drop_pp", rule, evidence, predictions.correct)


def top5_drop(rule: rules.AccuracyRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the drop of top-5 likewise."""
    yield from _drop("top5_drop_pp", rule, evidence, predictions.in_top5)


def decide(
    lost: int, gained: int, images: int, rule: rules.AccuracyRule
) -> tuple[Interval, State, str]:
    """Return the drop in pp, what it comes to, and if it does not decide, what would.

    A drop whose bound is below the margin passes only if so many images would pass most students
    that are as good as the teacher; with fewer, the answer would change from run to run. A student
    whose bound is below 0 is surely no worse than the teacher, and passes with any number.
    """
    # The upper end of the interval at 2 c - 1 is the one-sided bound at c.
    drawn, level = rule.interval == "bootstrap", 2 * rule.confidence - 1
    method = bootstrap.paired_difference if drawn else statistics.paired_difference
    drop = predictions.in_pp(method(lost, gained, images, level))
    state = side(drop, rule.margin)
    margin, discordant = rule.margin / 100, (lost + gained) / images
    if images < rule.images:
        return drop, "inconclusive", _too_few(images, rule)
    if drawn and lost + gained < bootstrap.FEWEST_DISCORDANT:
        return drop, "inconclusive", text.too_few_to_draw(lost + gained)
    if state == "passed" and drop.high > 0:
        needed = statistics.images_needed(margin, discordant, confidence=rule.confidence)
        if needed is not None and needed > images:
            least = statistics.smallest_detectable_drop(images, discordant, rule.confidence)
            return drop, "inconclusive", text.too_few_images(images, 100 * least, needed)
    if state == "inconclusive":
        return drop, state, _images_that_decide((lost, gained, images), rule)
    return drop, state, ""


def _drop(
    key: str,
    rule: rules.AccuracyRule,
    evidence: Evidence,
    hits: Callable[[Accuracy, Path], NDArray[np.bool_]],
) -> Iterator[Finding]:
    for name, teacher_n, subject_n in _pairs(key, rule, evidence, hits):
        counts = (*predictions.discordant(teacher_n, subject_n), len(teacher_n))
        drop, state, doubt = decide(*counts, rule)
        state, doubt = _unless_random(name, evidence, state, doubt)
        shares = f"{100 * teacher_n.mean():.1f} % -> {100 * subject_n.mean():.1f} %"
        detail, p_value = f"{shares}, {evidence.runs_as(name)}", _p_value(counts, rule)
        if rule.interval == "bootstrap":
            detail += ", by bootstrap"
            p_value = bootstrap.p_value(*counts, rule.margin / 100)
        yield finding(key, rule, name, drop, rule.margin, state, detail, doubt, p_value)


def worst_class_drop(rule: rules.MarginRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge the drop of the class that loses most: passed if that of every class is in bounds.

    To pass, each class needs its bound below the margin, so no correction is due; to fail, one
    class is enough, so each lower bound takes its share of the error (Bonferroni).
    """
    key = "worst_class_drop_pp"
    for name, (labels_n, teachers_n), (_, answers_n) in _pairs(
        key, rule, evidence, predictions.labelled
    ):
        labels = np.unique(labels_n).tolist()
        counts = [_counts(labels_n == label, labels_n, teachers_n, answers_n) for label in labels]
        called = [_class(evidence.run, label) for label in labels]
        level = 2 * rule.confidence - 1
        strict = 1 - 2 * (1 - rule.confidence) / len(labels)
        drops = [statistics.paired_difference(*count, level) for count in counts]
        low = max(statistics.paired_difference(*count, strict).low for count in counts)
        worst = max(range(len(labels)), key=lambda place: drops[place].value)
        widest = max(range(len(labels)), key=lambda place: drops[place].high)
        drop = predictions.in_pp(
            Interval(value=drops[worst].value, low=low, high=drops[widest].high, confidence=level)
        )
        state, doubt = side(drop, rule.margin), ""
        fewest = min(images for _, _, images in counts)
        if fewest < rule.images:
            state, doubt = "inconclusive", f"a class has {fewest:,} images of {rule.images:,}"
        elif state == "inconclusive":
            doubt = f"class '{called[widest]}': {_images_that_decide(counts[widest], rule)}"
        elif state == "passed" and (lucky := _luckiest(counts, rule)):
            place, needed = lucky
            what = text.too_few_images_of_a_class(counts[place][2], needed)
            state, doubt = "inconclusive", f"class '{called[place]}': {what}"
        state, doubt = _unless_random(name, evidence, state, doubt)
        detail = f"'{called[worst]}' of {len(labels)} classes, {evidence.runs_as(name)}"
        p_value = min(1.0, len(labels) * min(_p_value(count, rule) for count in counts))
        yield finding(key, rule, name, drop, rule.margin, state, detail, doubt, p_value)


def agreement(rule: rules.AgreementRule, evidence: Evidence) -> Iterator[Finding]:
    """Judge how often the student gives the teacher's answer, right or wrong."""
    key = "agreement_percent"
    for name, teachers_n, answers_n in _pairs(key, rule, evidence, _answers):
        alike, images = int((teachers_n == answers_n).sum()), len(answers_n)
        share = predictions.in_pp(statistics.wilson(alike, images, 2 * rule.confidence - 1))
        state, doubt = side_above(share, rule.least), ""
        if images < rule.images:
            state, doubt = "inconclusive", _too_few(images, rule)
        elif state == "inconclusive":
            needed = p_values.images_needed(alike / images, rule.least / 100, rule.confidence)
            doubt = text.images_that_decide(images, needed)
        state, doubt = _unless_random(name, evidence, state, doubt)
        detail = f"{alike:,} of {images:,} images, {evidence.runs_as(name)}"
        p_value = p_values.share_p_value(alike, images, rule.least / 100)
        yield finding(key, rule, name, share, rule.least, state, detail, doubt, p_value)


def _pairs(
    key: str,
    rule: rules.MarginRule | rules.AgreementRule,
    evidence: Evidence,
    read: Callable[[Accuracy, Path], T],
) -> Iterator[tuple[str, T, T]]:
    """Yield each artifact's name, what the teacher answers, and what it answers itself.

    An artifact answers as its engine does, where the board has run one.
    """
    names = evidence.names(key, rule.artifacts)
    folder = run_folder.accuracy(evidence.run.folder, TEACHER).parent
    teacher = evidence.accuracy(TEACHER, key)
    answers = read(teacher, folder)
    for name in names:
        subject = evidence.accuracy(evidence.run.shipped(name), key)
        evidence.artifact(name, key)
        _check_images(teacher, subject, folder)
        yield name, answers, read(subject, folder)


def _check_images(teacher: Accuracy, subject: Accuracy, folder: Path) -> None:
    if (teacher.images_sha256, teacher.images) != (subject.images_sha256, subject.images):
        raise RecordError(
            f"'{subject.subject}' and '{teacher.subject}' were evaluated on different images "
            f"({subject.images} with SHA-256 {subject.images_sha256[:12]}..., and "
            f"{teacher.images} with {teacher.images_sha256[:12]}...): evaluate both on the same"
        )
    labels_n, theirs_n = (predictions.labelled(one, folder)[0] for one in (subject, teacher))
    if not np.array_equal(labels_n, theirs_n):
        raise RecordError(
            f"'{subject.subject}' and '{teacher.subject}' were evaluated with different labels, or "
            "in another order, so their answers cannot be paired: evaluate both again"
        )


def _answers(record: Accuracy, folder: Path) -> NDArray[np.integer]:
    return predictions.labelled(record, folder)[1]


def _counts(
    mine_n: NDArray[np.bool_],
    labels_n: NDArray[np.integer],
    teachers_n: NDArray[np.integer],
    answers_n: NDArray[np.integer],
) -> Counts:
    """Return the images lost, gained, and all, of one class."""
    labels = labels_n[mine_n]
    lost, gained = predictions.discordant(teachers_n[mine_n] == labels, answers_n[mine_n] == labels)
    return lost, gained, len(labels)


def _luckiest(counts: list[Counts], rule: rules.MarginRule) -> tuple[int, int] | None:
    """Return the class that is furthest from passing but by luck, and the images that it takes.

    A class may have few discordant images by luck, too, so all classes together say how many are
    usual.
    """
    usual = sum(lost + gained for lost, gained, _ in counts) / sum(images for *_, images in counts)
    missing = {}
    for place, (lost, gained, images) in enumerate(counts):
        discordant = max(usual, (lost + gained) / images)
        needed = statistics.images_needed(rule.margin / 100, discordant, confidence=rule.confidence)
        if needed is not None and needed > images:
            missing[place] = needed
    if not missing:
        return None
    luckiest = max(missing, key=lambda place: missing[place] / counts[place][2])
    return luckiest, missing[luckiest]


def _p_value(counts: Counts, rule: rules.MarginRule) -> float:
    """Return how often a drop at the margin looks at least as bad."""
    return 1 - statistics.non_inferiority_p_value(*counts, rule.margin / 100)


def _images_that_decide(counts: Counts, rule: rules.MarginRule) -> str:
    lost, gained, images = counts
    needed = statistics.images_needed(
        rule.margin / 100, (lost + gained) / images, (lost - gained) / images, rule.confidence
    )
    return text.images_that_decide(images, needed)


def _too_few(images: int, rule: rules.MarginRule | rules.AgreementRule) -> str:
    return f"{images:,} images, but the rule asks for {rule.images:,}"


def _unless_random(name: str, evidence: Evidence, state: State, doubt: str) -> tuple[State, str]:
    """Let no file pass whose ranges come from random numbers."""
    if state == "failed" or evidence.run.artifacts[name].accuracy_valid:
        return state, doubt
    return "inconclusive", "it was calibrated on random data: take real images"


def _class(run: Run, label: int) -> str:
    names = run.checkpoints[TEACHER].class_names
    return names[label] if 0 <= label < len(names) else str(label)
