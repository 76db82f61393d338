from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core import files, run_folder
from edgekd.core.records import Interval, Ladder
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.report import facts
from tests import builders


def with_ratio(run: Run, subject: str, low: float, value: float, high: float) -> Run:
    """Return the run with another latency ratio of one artifact."""
    ratio = Interval(value=value, low=low, high=high, confidence=0.95)
    assert run.measurement is not None
    timings = tuple(
        timing.model_copy(update={"ratio_to_first": ratio}) if timing.subject == subject else timing
        for timing in run.measurement.timings
    )
    return replace(run, measurement=run.measurement.model_copy(update={"timings": timings}))


def sentence(run: Run, subject: str) -> str:
    return next(text for text in facts.speed_sentences(run) if text.startswith(f"'{subject}'"))


def test_pruning_that_buys_nothing_is_called_so(run: Run) -> None:
    assert sentence(with_ratio(run, "onnx-fp32", 0.95, 0.98, 1.02), "onnx-fp32") == (
        "'onnx-fp32': 33 % of the MACs, but latency is 0.98x [0.95, 1.02] the teacher's: "
        "pruning bought nothing on host-cpu."
    )


def test_both_pruning_and_int8_are_named_where_both_were_done(run: Run) -> None:
    assert sentence(with_ratio(run, "onnx-int8", 1.1, 1.2, 1.3), "onnx-int8").endswith(
        "but latency is 1.20x [1.10, 1.30] the teacher's: pruning and INT8 made it slower on "
        "host-cpu."
    )


def test_less_than_the_macs_promise_is_called_so(run: Run) -> None:
    assert sentence(with_ratio(run, "onnx-fp32", 0.5, 0.6, 0.7), "onnx-fp32").endswith(
        "and latency is 0.60x [0.50, 0.70] the teacher's: faster on host-cpu, though by less than "
        "the MACs promise."
    )


def test_as_much_as_the_macs_promise_is_simply_faster(run: Run) -> None:
    assert sentence(with_ratio(run, "onnx-fp32", 0.25, 0.3, 0.35), "onnx-fp32").endswith(
        "the teacher's: faster on host-cpu."
    )


def test_a_doubtful_measurement_makes_no_plain_claim(run: Run) -> None:
    assert run.measurement is not None
    warm = run.measurement.model_copy(update={"warnings": ("it was too warm",)})
    found = facts.speed_sentences(replace(run, measurement=warm))
    assert len(found) == 2
    assert all(text.endswith(" (doubtful: see the warnings).") for text in found)


def test_a_file_for_tensorrt_is_not_judged_by_another_engine(run: Run) -> None:
    artifact = run.artifacts["onnx-int8"].model_copy(update={"target": "tensorrt-int8"})
    other = replace(run, artifacts={**run.artifacts, "onnx-int8": artifact})
    assert sentence(other, "onnx-int8") == (
        "'onnx-int8' is written for TensorRT, so its latency with onnxruntime 1.31.1 on host-cpu "
        "says nothing about it."
    )
    assert run.measurement is not None
    measured = run.measurement.model_copy(update={"engine": "TensorRT 10.3"})
    on_board = replace(other, measurement=measured)
    assert "the teacher's: faster" in sentence(on_board, "onnx-int8")


@pytest.mark.parametrize(
    ("subject", "ratio"), [(REFERENCE, 1.0), ("onnx-fp32", 0.33), ("onnx-int8", 0.33)]
)
def test_macs_are_known_without_a_ladder_from_the_exported_checkpoint(
    run: Run, subject: str, ratio: float
) -> None:
    found = {item.timing.subject: item for item in facts.latencies(replace(run, ladder=None))}
    assert found[subject].macs_ratio == pytest.approx(ratio)


def test_macs_of_a_file_without_a_known_checkpoint_are_unknown(run: Run) -> None:
    lonely = replace(run, ladder=None, checkpoints={})
    assert [item.macs_ratio for item in facts.latencies(lonely)] == [None] * 3
    assert sentence(lonely, "onnx-fp32").startswith("'onnx-fp32': latency is 0.5")


def test_students_are_compared_with_the_teachers_file(run: Run) -> None:
    first, second = facts.students(run)
    assert (first.name, second.name) == ("onnx-fp32", "onnx-int8")
    assert first.size_ratio == pytest.approx(400_000 / 3_400_000)
    assert first.macs_ratio == pytest.approx(0.33)
    assert first.drop_pp is not None
    assert first.drop_pp.value == pytest.approx(0.2)
    assert second.latency is not None
    assert second.latency.subject == "onnx-int8"


def test_an_artifact_is_as_good_as_its_worst_deciding_finding(run: Run) -> None:
    assert run.verdict is not None
    states = {
        name: [f.state for f in run.verdict.findings if f.artifact == name and not f.informative]
        for name in ("onnx-fp32", "onnx-int8")
    }
    assert states == {"onnx-fp32": ["passed", "failed"], "onnx-int8": ["inconclusive", "passed"]}
    assert [student.state for student in facts.students(run)] == ["failed", "inconclusive"]


def test_the_verdict_counts_only_what_decides(run: Run) -> None:
    assert facts.verdict_line(run) == "verdict: failed (1 failed, 1 inconclusive and 2 passed)"
    assert facts.verdict_line(replace(run, verdict=None)) == (
        "verdict: none, for the run was not judged yet"
    )


def test_what_is_informative_comes_last(run: Run) -> None:
    assert run.verdict is not None
    flags = [finding.informative for finding in facts.sort_findings(run.verdict.findings)]
    assert flags == [False] * 4 + [True] * 2
    backwards = facts.sort_findings(run.verdict.findings[::-1])
    assert [finding.informative for finding in backwards] == flags


def test_a_step_that_costs_accuracy_for_good_is_blamed_with_its_evidence(tmp_path: Path) -> None:
    artifacts = {**builders.ARTIFACTS, "onnx-int8": builders.Step(lost=60, gained=6, bytes=1)}
    builders.make_run(tmp_path / "1", artifacts=artifacts)
    builders.conclude(tmp_path / "1")
    run = builders.run_folder.read(tmp_path / "1")
    assert facts.blame(run) == (
        "The step to 'onnx-int8' costs 5.20 pp against 'onnx-fp32' (McNemar p < 0.001), "
        "and no later step wins it back."
    )


def test_nothing_is_blamed_where_nothing_was_lost_for_good(run: Run) -> None:
    assert run.ladder is not None
    assert run.ladder.blamed is None
    assert facts.blame(run) is None
    assert facts.blame(replace(run, ladder=None)) is None


def test_doubts_are_gathered_from_every_record_once(run: Run) -> None:
    ladder, measurement = run.ladder, run.measurement
    assert isinstance(ladder, Ladder)
    assert measurement is not None
    int8 = run.artifacts["onnx-int8"]
    parity = int8.parity.model_copy(
        update={"state": "failed", "relative_error": 0.5, "tolerance": 0.1}
    )
    doubtful = replace(
        run,
        ladder=ladder.model_copy(update={"doubts": ("the teacher has seen them",)}),
        measurement=measurement.model_copy(update={"warnings": ("too warm", "too warm")}),
        artifacts={
            "onnx-int8": int8.model_copy(update={"accuracy_valid": False, "parity": parity})
        },
    )
    assert facts.doubts(doubtful) == [
        "the teacher has seen them",
        "latency: too warm",
        "'onnx-int8' was calibrated on random data: its accuracy means nothing",
        (
            "'onnx-int8' does not follow its checkpoint closely enough: relative error 0.5, "
            "tolerance 0.1"
        ),
    ]
    assert facts.doubts(run) == []


def test_a_record_that_was_changed_after_the_run_ended_is_doubted(tmp_path: Path) -> None:
    folder = builders.seal(builders.conclude(builders.make_run(tmp_path)))
    assert facts.doubts(run_folder.read(folder)) == []
    verdict = folder / "verdict.json"
    files.write_text(verdict, verdict.read_text().replace("2.0 pp", "1.0 pp"))
    (doubt,) = facts.doubts(run_folder.read(folder))
    assert "verdict.json' was changed: its SHA-256" in doubt
