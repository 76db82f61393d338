from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.core import checking, files, records, rules, run_folder, specs, statistics
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Accuracy, Finding
from edgekd.gate import rules as gate
from edgekd.gate.rules.accuracy import decide
from tests import builders
from tests.builders import Step


def judged(run: Path, **given: Any) -> Finding:
    verdict = gate.judge(checking.checked(specs.Gate, given, "gate"), run_folder.read(run))
    return verdict.findings[0]


def with_int8(folder: Path, **arguments: Any) -> Path:
    images = {name: arguments.pop(name) for name in ("images", "correct") if name in arguments}
    return builders.make_run(folder, artifacts={"onnx-int8": Step(**arguments)}, **images)


def rewrite(run: Path, name: str, **arrays: np.ndarray) -> None:
    """Give a model other arrays beside its record, and the record their hash."""
    path = run_folder.accuracy(run, name)
    np.savez(path.with_suffix(".npz"), **arrays)
    changed = {"predictions_sha256": files.sha256_of(path.with_suffix(".npz"))}
    if "predictions" in arrays:
        changed["correct"] = int((arrays["labels"] == arrays["predictions"]).sum())  # type: ignore[assignment]
    builders.change(Accuracy, path, **changed)


def answers(run: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(run_folder.accuracy(run, name).with_suffix(".npz")) as file:
        return dict(file)


# Power


def test_a_pass_that_equal_models_would_get_by_luck_alone_is_inconclusive() -> None:
    # 3 % discordant of 1,000 and a margin of 1 pp: (1.645 sqrt(0.0299) + 0.842 sqrt(0.03))^2 /
    # 0.0001 = 1,852 images; this model was lucky: -0.6 pp, at most 0.3.
    drop, state, doubt = decide(12, 18, 1000, rules.AccuracyRule(margin=1.0))
    assert drop.high < 1.0
    assert state == "inconclusive"
    assert doubt == (
        "1,000 images tell no drop below 1.4 pp from none, about 1,900 tell one of the margin"
    )


def test_a_student_that_is_surely_no_worse_passes_with_few_images() -> None:
    # The same 3 % of 1,000, but 4 lost and 26 gained: -2.2 pp, at most -1.3.
    rule = rules.AccuracyRule(margin=1.0)
    drop, state, doubt = decide(4, 26, 1000, rule)
    assert drop.high < 0
    assert (state, doubt) == ("passed", "")
    drop, state, _ = decide(10, 20, 1000, rule)  # at most -0.1: as surely
    assert (drop.high < 0, state) == (True, "passed")
    drop, state, _ = decide(11, 19, 1000, rule)  # at most 0.1: not surely
    assert (drop.high < 0, state) == (False, "inconclusive")


def test_as_many_images_as_are_needed_are_enough() -> None:
    rule = rules.AccuracyRule(margin=1.0)
    needed = statistics.images_needed(0.01, 0.0)
    assert needed is not None
    assert decide(0, 0, needed, rule)[1] == "passed"
    assert decide(0, 0, needed - 1, rule)[1] == "inconclusive"


def test_few_images_may_fail_a_model() -> None:
    assert decide(40, 0, 100, rules.AccuracyRule(margin=1.0))[1] == "failed"


def test_fewer_images_than_the_rule_asks_for_are_inconclusive(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    assert judged(run, top1_drop_pp={"margin": 2, "images": 1000}).state == "passed"
    found = judged(run, top1_drop_pp={"margin": 2, "images": 1001})
    assert found.state == "inconclusive"
    assert "1,000 images, but the rule asks for 1,001" in found.message


def test_margin_of_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="less than 100"):
        judged(with_int8(tmp_path), top1_drop_pp={"margin": 100})


# top5_drop_pp


def test_top5_drop_is_paired_like_top1(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    for name, wrong in (("teacher", 10), ("onnx-int8", 30)):  # the teacher's are among them
        rewrite(run, name, **answers(run, name), top5=np.arange(1000) >= wrong)
    found = judged(run, top5_drop_pp={"margin": 5})
    assert found.state == "passed"
    assert found.measured is not None
    assert found.measured.value == pytest.approx(2.0)
    assert found.message.startswith("top-5 drop 2.0 pp [..2.9], margin 5.0 pp (99.0 % -> 97.0 %")


@pytest.mark.parametrize(
    "top5", [{}, {"top5": np.ones(999, np.bool_)}, {"top5": np.ones(1000)}], ids=str
)
def test_predictions_without_top5_are_refused(tmp_path: Path, top5: dict[str, np.ndarray]) -> None:
    run = with_int8(tmp_path)
    rewrite(run, "teacher", **answers(run, "teacher"), **top5)
    with pytest.raises(RecordError, match=r"among the first five: evaluate 'teacher' again"):
        judged(run, top5_drop_pp={"margin": 5})


# worst_class_drop_pp


def test_worst_class_is_named_and_judged_though_the_whole_drop_is_small(tmp_path: Path) -> None:
    run = with_int8(tmp_path, images=5000, correct=5000)
    found = answers(run, "onnx-int8")
    third = np.flatnonzero(found["labels"] == 3)[:100]  # of 500
    found["predictions"][third] = 4
    rewrite(run, "onnx-int8", **found)
    assert judged(run, top1_drop_pp={"margin": 4}).state == "passed"
    worst = judged(run, worst_class_drop_pp={"margin": 10})
    assert worst.state == "failed"
    assert worst.measured is not None
    assert worst.measured.value == pytest.approx(20.0)
    assert "('3' of 10 classes, onnx-int8)" in worst.message


def test_bounds_of_the_worst_class_are_those_of_single_classes(tmp_path: Path) -> None:
    # 10 of each class, no drop: above, each class alone; below, a tenth of the error for each.
    run = with_int8(tmp_path, images=100, correct=100)
    measured = judged(run, worst_class_drop_pp={"margin": 30}).measured
    assert measured is not None
    assert measured.high == pytest.approx(100 * 2.7055 / (10 + 2.7055), abs=0.01)  # z = 1.645
    assert measured.low == pytest.approx(-100 * 6.6349 / (10 + 6.6349), abs=0.01)  # z = 2.576


def test_too_few_images_of_a_class_are_inconclusive(tmp_path: Path) -> None:
    run = with_int8(tmp_path, images=100, correct=100)
    found = judged(run, worst_class_drop_pp={"margin": 30, "images": 11})
    assert found.state == "inconclusive"
    assert "a class has 10 images of 11" in found.message


def test_undecided_class_is_named_with_the_images_it_needs(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path, images=100, correct=100), worst_class_drop_pp={"margin": 5})
    assert found.state == "inconclusive"
    assert "class '0': 10 images do not decide, about 52 would" in found.message


def with_two_classes(folder: Path, first: int) -> Path:
    """Make a run with so many images of class 0, all alike, and others of class 1: 20 % differ."""
    run = with_int8(folder, images=400, correct=400)
    labels = np.where(np.arange(400) < first, 0, 1)
    differs = np.flatnonzero(labels == 1)[::5]
    for name, wrong in (("teacher", differs[::2]), ("onnx-int8", differs[1::2])):
        predictions = labels.copy()
        predictions[wrong] = 2
        rewrite(run, name, labels=labels, predictions=predictions)
    return run


def test_a_lucky_class_does_not_pass_and_says_how_many_images_it_takes(tmp_path: Path) -> None:
    # 30 images without a difference bound the drop at 2.706 / 32.7 = 8.3 pp. But 74 of all 400
    # differ, and at 18.5 % a margin of 13 pp takes
    # (1.645 sqrt(0.185 - 0.0169) + 0.842 sqrt(0.185))^2 / 0.0169 = 64 images.
    found = judged(with_two_classes(tmp_path, 30), worst_class_drop_pp={"margin": 13})
    assert found.measured is not None
    assert found.measured.high < 13
    assert found.state == "inconclusive"
    assert "class '0': 30 images may pass by luck, about 64 tell the margin" in found.message


def test_classes_with_images_enough_pass(tmp_path: Path) -> None:
    run = with_two_classes(tmp_path, 80)
    assert judged(run, worst_class_drop_pp={"margin": 13}).state == "passed"


# Bootstrap


def test_bootstrap_judges_as_the_score_does_where_images_are_many(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=12, gained=8)  # 0.4 pp, standard error 0.141: [..1.1]
    for margin, state in ((2.0, "passed"), (1.0, "inconclusive")):
        found = judged(run, top1_drop_pp={"margin": margin, "interval": "bootstrap"})
        assert found.state == state
        assert found.measured is not None
        assert found.measured.high == pytest.approx(1.14, abs=0.1)
        assert "onnx-int8, by bootstrap" in found.message


def test_bootstrap_fails_a_drop_that_is_surely_more(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=60, gained=8)
    found = judged(run, top1_drop_pp={"margin": 2, "interval": "bootstrap"})
    assert found.state == "failed"
    assert found.p_value == 0


def test_bootstrap_of_answers_that_hardly_differ_is_inconclusive(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=9)
    found = judged(run, top1_drop_pp={"margin": 50, "interval": "bootstrap"})
    assert found.state == "inconclusive"
    assert "takes 10 images that one model alone has right, 9 were found" in found.message


# agreement_percent


def test_agreement_counts_equal_answers_right_or_wrong(tmp_path: Path) -> None:
    # 15 lost and 5 gained of 1,000; the teacher's other errors are the student's, too.
    run = with_int8(tmp_path, lost=15, gained=5)
    found = judged(run, agreement_percent={"least": 96})
    assert found.state == "passed"
    assert found.message == (
        "agreement with the teacher 98.0 % [97.1..], at least 96.0 % "
        "(980 of 1,000 images, onnx-int8)"
    )


@pytest.mark.parametrize(("least", "state"), [(97.0, "passed"), (98.0, "inconclusive")])
def test_agreement_needs_its_whole_interval_above_the_least(
    tmp_path: Path, least: float, state: str
) -> None:
    run = with_int8(tmp_path, lost=15, gained=5)
    assert judged(run, agreement_percent={"least": least}).state == state


def test_agreement_that_is_not_decided_says_how_many_images_would(tmp_path: Path) -> None:
    # 980 of 1,000 and 97.5 %: (1.645 sqrt(0.975 0.025) + 0.842 sqrt(0.98 0.02))^2 / 0.005^2 = 5632.
    found = judged(with_int8(tmp_path, lost=15, gained=5), agreement_percent={"least": 97.5})
    assert found.state == "inconclusive"
    assert found.message.endswith("1,000 images do not decide, about 5,700 would")


def test_agreement_below_the_least_fails(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path, lost=15, gained=5), agreement_percent={"least": 99.5})
    assert found.state == "failed"
    assert "98.0 % [..98.6], at least 99.5 %" in found.message


@pytest.mark.parametrize("rule", ["top1_drop_pp", "worst_class_drop_pp", "agreement_percent"])
def test_random_calibration_passes_no_rule_about_answers(tmp_path: Path, rule: str) -> None:
    run = with_int8(tmp_path)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(records.Artifact, path, accuracy_valid=False)
    given = {"least": 50} if rule == "agreement_percent" else {"margin": 50}
    found = judged(run, **{rule: given})
    assert found.state == "inconclusive"
    assert "random data" in found.message
