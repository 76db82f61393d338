from pathlib import Path

from hypothesis import given

from edgekd.core import checking, run_folder, specs
from edgekd.core.records import Verdict
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
        "| **failed (informative)** | size_ratio | onnx-int8 | 0.250 | 0.2 |",
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


@given(message=verdicts.TEXTS, artifact=verdicts.TEXTS)
def test_any_text_leaves_the_table_whole(message: str, artifact: str) -> None:
    found = verdicts.finding(message=message, artifact=artifact)
    lines = markdown(verdicts.verdict(found)).encode().decode().splitlines()
    assert len(lines) == 7
    assert lines[4].replace("\\\\", "").replace("\\|", "").count("|") == 6
