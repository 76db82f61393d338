import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import checking, files, records, run_folder, specs
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.records import Accuracy, Artifact, Checkpoint, Interval, Measurement, Verdict
from edgekd.core.run_folder import REFERENCE
from edgekd.gate import rules
from tests import builders
from tests.builders import Step


def judged(run: Path, **gate: Any) -> Verdict:
    return rules.judge(checking.checked(specs.Gate, gate, "gate"), run_folder.read(run))


def with_int8(folder: Path, **arguments: Any) -> Path:
    """Make a run whose only student is onnx-int8."""
    images = {name: arguments.pop(name) for name in ("images", "correct") if name in arguments}
    return builders.make_run(folder, artifacts={"onnx-int8": Step(**arguments)}, **images)


# top1_drop_pp


def test_drop_whose_bound_is_below_the_margin_passes(tmp_path: Path) -> None:
    # 12 lost, 8 gained of 1,000: 0.4 pp; the one-sided bound at 95 % is near Wald's
    # 0.4 + 1.645 * sqrt(20) / 10 = 1.14 pp, and above it.
    found = judged(with_int8(tmp_path, lost=12, gained=8), top1_drop_pp={"margin": 2})
    finding = found.findings[0]
    assert found.state == finding.state == "passed"
    assert finding.measured is not None
    assert finding.measured.value == pytest.approx(0.4)
    assert finding.measured.high == pytest.approx(1.20, abs=0.01)
    assert finding.message == (
        "top-1 drop 0.4 pp [..1.2], margin 2.0 pp (95.0 % -> 94.6 %, onnx-int8)"
    )


def test_drop_whose_bound_is_above_the_margin_fails(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path, lost=60, gained=8), top1_drop_pp={"margin": 2})
    assert found.state == "failed"
    assert found.findings[0].message == (
        "top-1 drop 5.2 pp [3.9..], margin 2.0 pp (95.0 % -> 89.8 %, onnx-int8)"
    )


def test_drop_too_near_the_margin_is_inconclusive_and_says_how_many_images_decide(
    tmp_path: Path,
) -> None:
    # 1.0 pp of 2.0 at 6 % discordant: ((1.645 + 0.842) / 0.01)^2 * 0.06 = 3,700 images.
    run = with_int8(tmp_path, images=500, correct=450, lost=17, gained=12)
    found = judged(run, top1_drop_pp={"margin": 2})
    assert found.state == "inconclusive"
    assert "[-0.8..2.9]" in found.findings[0].message
    assert "500 images do not decide, about 3,600 would" in found.findings[0].message


def test_drop_at_the_margin_itself_says_that_no_number_of_images_decides(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path, lost=20), top1_drop_pp={"margin": 2})
    assert found.state == "inconclusive"
    assert "nor would a million" in found.findings[0].message


def test_same_predictions_on_few_images_prove_nothing(tmp_path: Path) -> None:
    run = with_int8(tmp_path, images=50, correct=48)
    assert judged(run, top1_drop_pp={"margin": 2}).state == "inconclusive"


def test_more_confidence_asks_for_more_evidence(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=12, gained=4)  # 0.8 pp [..1.5] at 95 %, [..1.8] at 99 %
    assert judged(run, top1_drop_pp={"margin": 1.6}).state == "passed"
    rule = {"margin": 1.6, "confidence": 0.99}
    assert judged(run, top1_drop_pp=rule).state == "inconclusive"


def test_measured_interval_is_one_sided_at_the_rules_confidence(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path), top1_drop_pp={"margin": 2, "confidence": 0.95})
    assert found.findings[0].measured is not None
    assert found.findings[0].measured.confidence == pytest.approx(0.9)


def test_student_is_paired_with_the_teacher_not_with_the_teachers_file(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=12, gained=8)
    builders.write_accuracy(run, REFERENCE, Step(lost=500), images=1000, correct=950)
    finding = judged(run, top1_drop_pp={"margin": 2}).findings[0]
    assert finding.measured is not None
    assert finding.measured.value == pytest.approx(0.4)


def test_pairing_tells_apart_what_two_separate_accuracies_cannot(tmp_path: Path) -> None:
    # 88.0 and 87.5 % of 1,000 images: Wilson's intervals overlap; 6 discordant images decide.
    run = with_int8(tmp_path, correct=880, lost=5, gained=0)
    teacher, student = (
        records.read(Accuracy, run_folder.accuracy(run, name)).top1_percent
        for name in ("teacher", "onnx-int8")
    )
    assert teacher.low < student.high - 3
    assert judged(run, top1_drop_pp={"margin": 1.5}).state == "passed"


def test_calibration_on_random_data_never_passes(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(Artifact, path, accuracy_valid=False)
    found = judged(run, top1_drop_pp={"margin": 2})
    assert found.state == "inconclusive"
    assert "calibrated on random data" in found.findings[0].message


def test_calibration_on_random_data_may_fail(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=300)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(Artifact, path, accuracy_valid=False)
    assert judged(run, top1_drop_pp={"margin": 2}).state == "failed"


def refused(run: Path, message: str, **gate: Any) -> None:
    with pytest.raises(RecordError, match=message) as caught:
        judged(run, **(gate or {"top1_drop_pp": {"margin": 2}}))
    assert caught.value.exit_status == 2


def test_artifact_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    run_folder.accuracy(run, "onnx-int8").unlink()
    refused(run, "'onnx-int8' was not evaluated")


def test_teacher_that_was_not_evaluated_is_named(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    run_folder.accuracy(run, "teacher").unlink()
    refused(run, "'teacher' was not evaluated, .* finish the run with --resume$")


def test_artifact_that_does_not_exist_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    rule = {"margin": 2, "artifacts": ["onnx-int4"]}
    refused(
        with_int8(tmp_path),
        "rule top1_drop_pp is for 'onnx-int4'.* Did you mean 'onnx-int8'",
        top1_drop_pp=rule,
    )


def test_rule_for_one_artifact_leaves_the_others_out(tmp_path: Path) -> None:
    artifacts = {"onnx-fp32": Step(lost=300), "onnx-int8": Step()}
    run = builders.make_run(tmp_path, artifacts=artifacts)
    found = judged(run, top1_drop_pp={"margin": 2, "artifacts": ["onnx-int8"]})
    assert [finding.artifact for finding in found.findings] == ["onnx-int8"]
    assert found.state == "passed"


def test_run_without_an_exported_student_is_refused(tmp_path: Path) -> None:
    refused(builders.make_run(tmp_path, artifacts={}), "has no exported student")


def test_rule_for_no_artifact_is_refused(tmp_path: Path) -> None:
    rule = {"margin": 2, "artifacts": []}
    refused(with_int8(tmp_path), "gate.top1_drop_pp.artifacts is empty", top1_drop_pp=rule)


def test_different_images_are_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.change(Accuracy, run_folder.accuracy(run, "onnx-int8"), images_sha256="f" * 64)
    refused(run, "'onnx-int8' and 'teacher' were evaluated on different images")


def test_part_of_the_images_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.write_accuracy(run, "onnx-int8", Step(), images=999, correct=950)
    refused(run, "evaluated on different images")


def test_answers_in_another_order_are_not_paired(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    path = run_folder.accuracy(run, "onnx-int8")
    with np.load(path.with_suffix(".npz")) as file:
        arrays = dict(file)
    builders.write_predictions(
        path.with_suffix(".npz"), arrays["labels"][::-1], arrays["predictions"][::-1]
    )
    sha256 = files.sha256_of(path.with_suffix(".npz"))
    builders.change(Accuracy, path, predictions_sha256=sha256)
    refused(run, "with different labels, or in another order")


def test_images_of_another_split_are_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.change(Accuracy, run_folder.accuracy(run, "onnx-int8"), split="validation")
    refused(run, "evaluated on the validation images")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_that_a_choice_has_read_are_refused(tmp_path: Path, split: str) -> None:
    run = with_int8(tmp_path)
    path = run_folder.checkpoint(run, "deep") / "checkpoint.json"
    data = records.read(Checkpoint, path).data
    assert data is not None
    read = data.model_copy(update={"sha256": {**data.sha256, split: builders.TEST_SHA256}})
    builders.change(Checkpoint, path, data=read)
    refused(run, f"the very images that 'deep' has read for {split}")


def test_foreign_weights_without_known_images_are_judged(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.change(
        Checkpoint, run_folder.checkpoint(run, "teacher") / "checkpoint.json", data=None
    )
    assert judged(run, top1_drop_pp={"margin": 2}).state == "passed"


def test_changed_predictions_are_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path, lost=300)
    labels_n = np.arange(1000) % 10
    path = run_folder.accuracy(run, "onnx-int8").with_suffix(".npz")
    builders.write_predictions(path, labels_n, labels_n)
    refused(run, "onnx-int8.npz' was changed")


def test_accuracy_of_an_earlier_export_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    path = run_folder.artifact(run, "onnx-int8") / "artifact.json"
    builders.change(Artifact, path, sha256="0" * 64)
    refused(run, "the accuracy of 'onnx-int8' belongs to other weights")


def test_a_model_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    (run_folder.artifact(run, "onnx-int8") / "model.onnx").write_bytes(b"another")
    refused(run, "was changed after its record was written")


def test_nan_in_a_record_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    path = run_folder.measurement(run) / "measurement.json"
    text = path.read_text().replace('"drift_ratio": 1.001', '"drift_ratio": NaN')
    files.write_text(path, text)
    refused(run, "is no Measurement record")


# latency_ratio


def measured_as(run: Path, interval: Interval | None, **changes: Any) -> Path:
    """Give onnx-int8 another ratio, and the measurement other fields."""
    path = run_folder.measurement(run) / "measurement.json"
    measurement = records.read(Measurement, path)
    timings = [
        timing.model_copy(update={"ratio_to_first": interval})
        if timing.subject == "onnx-int8"
        else timing
        for timing in measurement.timings
    ]
    builders.change(Measurement, path, timings=tuple(timings), **changes)
    return run


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (0.41, 0.44, "passed"),
        (0.41, 0.50, "passed"),  # "must not exceed the limit"
        (0.48, 0.52, "inconclusive"),
        (0.50, 0.52, "inconclusive"),
        (0.51, 0.54, "failed"),
    ],
)
def test_latency_is_judged_by_the_interval_of_its_ratio(
    tmp_path: Path, low: float, high: float, state: str
) -> None:
    interval = Interval(value=(low + high) / 2, low=low, high=high, confidence=0.95)
    run = measured_as(with_int8(tmp_path), interval)
    assert judged(run, latency_ratio={"limit": 0.5}).state == state


def test_latency_message_says_the_medians(tmp_path: Path) -> None:
    finding = judged(with_int8(tmp_path, latency_ratio=0.4), latency_ratio={"limit": 0.5})
    assert finding.findings[0].message == (
        "latency 0.40 times the teacher's [..0.40], limit 0.50 (0.998 ms -> 0.4 ms, onnx-int8)"
    )


@pytest.mark.parametrize("limit", [0.5, 0.3])
def test_doubtful_measurement_neither_passes_nor_fails(tmp_path: Path, limit: float) -> None:
    run = with_int8(tmp_path, latency_ratio=0.4)
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("other programs took 40 % of the processor",))
    found = judged(run, latency_ratio={"limit": limit})
    assert found.state == "inconclusive"
    assert "other programs took 40 %" in found.findings[0].message


def test_ratio_without_an_interval_is_inconclusive(tmp_path: Path) -> None:
    run = measured_as(with_int8(tmp_path), None)
    found = judged(run, latency_ratio={"limit": 5})
    assert found.state == "inconclusive"
    assert "raise profile.blocks" in found.findings[0].message


def test_more_confidence_than_was_measured_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    assert judged(run, latency_ratio={"limit": 1, "confidence": 0.975}).state == "passed"
    with pytest.raises(UsageError, match=r"latency_ratio.confidence: .* 0.975, found 0.99"):
        judged(run, latency_ratio={"limit": 1, "confidence": 0.99})


def test_run_without_a_measurement_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    (run_folder.measurement(run) / "measurement.json").unlink()
    refused(run, "has no latency measurement", latency_ratio={"limit": 1})


def test_an_estimate_does_not_stand_in_for_a_measurement(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    folder = run_folder.measurement(run)
    (folder / "measurement.json").rename(folder / "estimate.json")
    refused(run, "an estimate is none, measure on the device", latency_p50_ms={"limit": 1})


def test_artifact_that_was_not_measured_is_named(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.write_measurement(run, {REFERENCE: Step(latency_ratio=1)})
    refused(run, "latency of 'onnx-int8' was not measured", latency_ratio={"limit": 1})


def test_measurement_against_another_file_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    builders.write_measurement(run, {"onnx-int8": Step(), REFERENCE: Step()})
    refused(run, "latency was measured against 'onnx-int8'", latency_ratio={"limit": 1})


@pytest.mark.parametrize("name", [REFERENCE, "onnx-int8"])
def test_latency_of_an_earlier_export_is_refused(tmp_path: Path, name: str) -> None:
    run = with_int8(tmp_path)
    path = run_folder.artifact(run, name) / "artifact.json"
    builders.change(Artifact, path, sha256="0" * 64)
    refused(run, f"latency of '{name}' belongs to another file", latency_ratio={"limit": 1})


def test_changed_samples_are_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    (run_folder.measurement(run) / "samples.npz").write_bytes(b"faster ones")
    refused(run, "samples.npz' was changed", latency_ratio={"limit": 1})


# size_ratio


@pytest.mark.parametrize(
    ("size", "state"), [(340_000, "passed"), (340_001, "failed"), (100_000, "passed")]
)
def test_size_is_exact(tmp_path: Path, size: int, state: str) -> None:
    # The teacher's file has 3,400,000 bytes.
    assert judged(with_int8(tmp_path, bytes=size), size_ratio={"limit": 0.1}).state == state


def test_size_message_says_both_sizes(tmp_path: Path) -> None:
    finding = judged(with_int8(tmp_path, bytes=850_000), size_ratio={"limit": 0.3}).findings[0]
    assert finding.message == (
        "size 0.25 times the teacher's, limit 0.30 (3.24 MiB -> 0.811 MiB, onnx-int8)"
    )


def test_size_without_the_teachers_file_is_refused(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    (run_folder.artifact(run, REFERENCE) / "artifact.json").unlink()
    refused(run, f"size_ratio is against '{REFERENCE}'", size_ratio={"limit": 1})


def test_a_student_whose_record_is_lost_lets_no_other_pass(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path)
    (run_folder.artifact(run, "onnx-int8") / "artifact.json").unlink()
    refused(run, "'onnx-int8' was evaluated or measured, but", size_mib={"limit": 1})


# The verdict


@pytest.mark.parametrize(
    ("gate", "state"),
    [
        ({"top1_drop_pp": {"margin": 2}, "size_ratio": {"limit": 0.01}}, "failed"),
        ({"top1_drop_pp": {"margin": 0.5}, "size_ratio": {"limit": 1}}, "inconclusive"),
        ({"top1_drop_pp": {"margin": 0.5}, "size_ratio": {"limit": 0.01}}, "failed"),
        ({"top1_drop_pp": {"margin": 2}, "size_ratio": {"limit": 1}}, "passed"),
    ],
)
def test_verdict_is_the_worst_of_its_findings(tmp_path: Path, gate: Any, state: str) -> None:
    assert judged(with_int8(tmp_path, lost=12, gained=8), **gate).state == state


@given(st.lists(st.sampled_from(["passed", "failed", "inconclusive"]), min_size=1))
def test_verdict_passes_only_if_every_finding_does(states: list[Any]) -> None:
    assert (rules.overall(states) == "passed") == (set(states) == {"passed"})
    assert (rules.overall(states) == "failed") == ("failed" in states)


def test_informative_rule_is_shown_and_decides_nothing(tmp_path: Path) -> None:
    gate = {
        "top1_drop_pp": {"margin": 2},
        "size_ratio": {"limit": 0.01, "informative": True},
        "latency_ratio": {"limit": 0.01, "informative": True},
    }
    found = judged(with_int8(tmp_path), **gate)
    assert [finding.state for finding in found.findings] == ["passed", "failed", "failed"]
    assert [finding.informative for finding in found.findings] == [False, True, True]
    assert found.state == "passed"


@pytest.mark.parametrize("gate", [{}, {"size_ratio": {"limit": 1, "informative": True}}])
def test_gate_that_decides_nothing_is_refused(tmp_path: Path, gate: Any) -> None:
    with pytest.raises(UsageError, match="no rule that decides"):
        judged(with_int8(tmp_path), **gate)


def test_verdict_names_what_it_rests_on(tmp_path: Path) -> None:
    run = with_int8(tmp_path)
    found = judged(run, top1_drop_pp={"margin": 2})
    assert builders.sha256_of("teacher") in found.parents
    assert builders.sha256_of("onnx-int8") in found.parents
    predictions = run_folder.accuracy(run, "onnx-int8").with_suffix(".npz")
    assert files.sha256_of(predictions) in found.parents


def test_verdict_can_be_written_and_read(tmp_path: Path) -> None:
    found = judged(with_int8(tmp_path), top1_drop_pp={"margin": 2}, size_ratio={"limit": 1})
    records.write(found, tmp_path / "verdict.json")
    assert records.read(Verdict, tmp_path / "verdict.json") == found


def test_gate_imports_neither_torch_nor_onnx_nor_scipy() -> None:
    code = (
        "import sys, edgekd.gate.markdown, edgekd.gate.junit, edgekd.pipeline.gate\n"
        "sys.exit(str(sorted({'torch', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
