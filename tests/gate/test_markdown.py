from pathlib import Path

import pytest
from hypothesis import given

from edgekd.core import checking, run_folder, specs
from edgekd.core.records import Interval, Measurement, Verdict
from edgekd.gate import rules
from edgekd.gate.markdown import markdown
from tests import builders
from tests.builders import Step
from tests.gate import verdicts


def verdict(folder: Path, name: str = "onnx-int8") -> Verdict:
    step = Step(lost=12, gained=8, bytes=850_000)
    run = run_folder.read(builders.make_run(folder, artifacts={name: step}))
    gate = {"top1_drop_pp": {"margin": 2}, "size_ratio": {"limit": 0.2, "informative": True}}
    return rules.judge(checking.checked(specs.Gate, gate, "gate"), run)


def test_each_finding_is_a_row_and_what_did_not_pass_is_explained(tmp_path: Path) -> None:
    assert markdown(verdict(tmp_path)).splitlines() == [
        "### edgekd gate: passed",
        "",
        "| verdict | rule | artifact | measured | limit |",
        "| --- | --- | --- | ---: | ---: |",
        "| passed | top1_drop_pp | onnx-int8 | 0.40 pp [-0.36, 1.20] | 2 pp |",
        "| **failed (informative)** | size_ratio | onnx-int8 | 0.250x | 0.2x |",
        "",
        "- size 0.25 times the teacher's, limit 0.20 (3.24 MiB -> 0.811 MiB, onnx-int8)",
    ]


def test_a_bar_in_a_name_does_not_end_the_cell(tmp_path: Path) -> None:
    row = markdown(verdict(tmp_path, "int8|mine")).splitlines()[4]
    assert row.replace("\\|", "").count("|") == 6
    assert "int8\\|mine" in row


def test_what_has_no_interval_is_said_not_to_be_measurable(tmp_path: Path) -> None:
    found = verdict(tmp_path)
    finding = found.findings[0].model_copy(update={"measured": None, "state": "inconclusive"})
    assert "| not measurable |" in markdown(found.model_copy(update={"findings": (finding,)}))


def test_a_name_cannot_become_html_or_an_image() -> None:
    found = verdicts.finding(artifact="<img src=x>", message="![x](https://x) `y`")
    text = markdown(verdicts.verdict(found))
    assert "&lt;img src=x>" in text
    assert "- !\\[x\\](https://x) \\`y\\`" in text


@pytest.mark.parametrize(
    ("rule", "unit", "value", "limit", "cells"),
    [
        (
            "throughput_per_s",
            "per s",
            2500.0,
            1_200_000,
            "| 2500.0 images/s | >= 1200000 images/s |",
        ),
        ("latency_ratio", "ratio", 0.4, 0.5, "| 0.400x | 0.5x |"),
        ("latency_p99_ms", "ms", 3.0, 4, "| 3.000 ms | 4 ms |"),
        ("parity_sd", "sd", 0.002, 0.1, "| 0.0020 sd | 0.1 sd |"),
        ("lint", "findings", 2.0, 0, "| 2 | 0 |"),
    ],
)
def test_numbers_have_their_unit_and_counts_are_integers(
    rule: str, unit: str, value: float, limit: float, cells: str
) -> None:
    exact = Interval(value=value, low=value, high=value, confidence=1.0)
    found = verdicts.finding(rule=rule, unit=unit, measured=exact, limit=limit)
    assert cells in markdown(verdicts.verdict(found))


def test_doubts_about_the_measurement_are_told_once(tmp_path: Path) -> None:
    run = builders.make_run(tmp_path, artifacts={"onnx-int8": Step()})
    path = run_folder.measurement(run) / "measurement.json"
    builders.change(Measurement, path, warnings=("others took\n40 %", "it drifted"))
    gate = {f"latency_{name}": {"limit": 1000} for name in ("ratio", "p90_ratio", "p50_ms")}
    gate["throughput_per_s"] = {"least": 1}
    found = rules.judge(checking.checked(specs.Gate, gate, "gate"), run_folder.read(run))
    told = markdown(found)
    assert told.count("others took 40 %") == told.count("it drifted") == 1
    assert told.count("): its measurement is in doubt\n") == 3
    assert found.findings[0].message.endswith("): others took 40 %; it drifted")
    assert found.findings[0].doubts == ("others took\n40 %", "it drifted")


@given(message=verdicts.TEXTS, artifact=verdicts.TEXTS)
def test_any_text_leaves_the_table_whole(message: str, artifact: str) -> None:
    found = verdicts.finding(message=message, artifact=artifact)
    lines = markdown(verdicts.verdict(found)).encode().decode().splitlines()
    assert len(lines) == 7
    assert lines[4].replace("\\\\", "").replace("\\|", "").count("|") == 6
