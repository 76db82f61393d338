"""Runs side by side: numbers, pairs of images, what their recipes differ in, and doubts."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError, UsageError
from edgekd.core.run_folder import Run
from edgekd.report import compare, compare_page, compare_text
from edgekd.report.compare import Comparison
from tests import builders
from tests.report.conftest import judged
from tests.report.reading import Node, read

WORSE = {"onnx-int8": builders.Step(lost=40, gained=6, bytes=90_000, latency_ratio=0.3)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs; the second has a worse and smaller onnx-int8, and no onnx-fp32."""
    folder = tmp_path_factory.mktemp("runs")
    judged(folder / "a" / "1")
    judged(folder / "b" / "1", artifacts=WORSE)
    recipe = folder / "b" / "1" / "recipe.json"
    tree = json.loads(recipe.read_text())
    tree["student"]["prune"]["macs"] = 0.25
    recipe.write_text(json.dumps(tree))
    return compare.read([folder / "a" / "1", folder / "b" / "1"])


@pytest.fixture(scope="module")
def found(runs: list[Run]) -> Comparison:
    return compare.compare(runs)


@pytest.fixture(scope="module")
def page(found: Comparison, runs: list[Run]) -> Node:
    return read(compare_page.html(found, runs))


def entry(found: Comparison, run: str, artifact: str) -> compare.Entry:
    (one,) = (one for one in found.entries if (one.run, one.artifact) == (run, artifact))
    return one


def test_runs_are_called_by_as_much_of_their_path_as_tells_them_apart(found: Comparison) -> None:
    assert [run.name for run in found.runs] == ["a/1", "b/1"]


def test_every_file_of_every_run_is_an_entry(found: Comparison) -> None:
    assert [(one.run, one.artifact) for one in found.entries] == [
        ("a/1", "teacher-onnx-fp32"), ("a/1", "onnx-fp32"), ("a/1", "onnx-int8"),
        ("b/1", "teacher-onnx-fp32"), ("b/1", "onnx-int8"),
    ]  # fmt: skip


def test_the_gain_over_the_first_run_is_paired_by_image(found: Comparison) -> None:
    gain = entry(found, "b/1", "onnx-int8").gain_pp
    assert gain is not None
    assert gain.value == pytest.approx(-2.9)  # lost 40 of 1,000 images, not 11; gained 6 in both
    assert gain.low < gain.value < gain.high < 0
    assert entry(found, "a/1", "onnx-int8").gain_pp is None
    same = entry(found, "b/1", "teacher-onnx-fp32").gain_pp
    assert same is not None
    assert same.value == 0


def test_numbers_are_those_of_the_records(found: Comparison, runs: list[Run]) -> None:
    one, run = entry(found, "b/1", "onnx-int8"), runs[1]
    assert run.measurement is not None
    timing = run.measurement.timings[1]
    assert one.top1_percent == run.accuracies["onnx-int8"].top1_percent
    assert (one.p50_ms, one.latency_ratio) == (timing.p50_ms, timing.ratio_to_first)
    assert (one.bytes, one.macs) == (90_000, 330_000)
    assert one.state == "failed"


def test_an_engines_accuracy_counts_for_its_file(tmp_path: Path) -> None:
    folders = [builders.make_run(tmp_path / name) for name in "12"]
    builders.write_engine(folders[1], "onnx-int8", builders.Step(lost=40))
    first, second = map(run_folder.read, folders)
    found = entry(compare.compare([first, second]), "2", "onnx-int8")
    assert found.top1_percent is not None
    assert found.top1_percent.value == pytest.approx(91.0)  # 950 - 40 of 1000
    assert found.gain_pp is not None
    assert found.gain_pp.value == pytest.approx(-3.5)  # the first has 945


def test_only_keys_with_other_values_are_differences(found: Comparison) -> None:
    assert [(one.key, one.values) for one in found.differences] == [
        ("student.prune.macs", ("0.33", "0.25"))
    ]


def test_latencies_that_were_not_measured_in_turns_are_doubted(found: Comparison) -> None:
    assert any("not measured in turns" in doubt for doubt in found.doubts)


def test_accuracies_on_other_images_are_not_paired(tmp_path: Path) -> None:
    one, other = judged(tmp_path / "1"), judged(tmp_path / "2")
    for path in (other.folder / "accuracy").glob("*.json"):
        builders.change(records.Accuracy, path, images_sha256="f" * 64)
    found = compare.compare(compare.read([one.folder, other.folder]))
    assert {entry.gain_pp for entry in found.entries} == {None}
    assert any("different test images" in doubt for doubt in found.doubts)


def test_predictions_that_were_changed_are_a_doubt(tmp_path: Path) -> None:
    one, other = judged(tmp_path / "1"), judged(tmp_path / "2")
    (other.folder / "accuracy" / "onnx-int8.npz").write_bytes(b"other")
    found = compare.compare(compare.read([one.folder, other.folder]))
    assert entry(found, "2", "onnx-int8").gain_pp is None
    assert any("onnx-int8.npz' was changed" in doubt for doubt in found.doubts)


def test_one_run_is_not_enough(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="two runs or more"):
        compare.read([runs[0].folder])


def test_a_run_is_not_held_against_itself(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="given twice"):
        compare.read([runs[0].folder, runs[0].folder.parent / "." / "1"])


def test_an_empty_run_is_refused_with_what_to_do(runs: list[Run], tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(UsageError, match="no model file to compare yet: finish it"):
        compare.read([runs[0].folder, tmp_path])


def test_a_folder_that_is_no_run_is_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is not a run's folder"):
        compare.read([runs[0].folder, tmp_path])


def test_the_terminal_shows_every_file_below_its_run(found: Comparison) -> None:
    stream = io.StringIO()
    compare_text.render(found, Console(file=stream, width=80))
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[1].split("  ")[0] == "run, file"
    place = lines.index("b/1")
    assert lines[place + 2] == (
        "  onnx-int8  91.60 [89.72, 93.16]   3.40 [2.18, 4.86]  -2.90 [-4.13, -2.03]"
    )
    assert "student.prune.macs  0.33  0.25" in lines


def test_markdown_is_one_row_a_file_and_escapes_bars(found: Comparison) -> None:
    first = found.entries[0].model_copy(update={"artifact": "a|b"})
    text = compare_text.markdown(found.model_copy(update={"entries": (first,)}))
    rows = [line for line in text.splitlines() if line.startswith("| a/1 |")]
    assert rows == [
        "| a/1 | a\\|b | 95.00 [93.47, 96.19] | - | - | 0.998 | - | - | 1.00 M | 3.24 | - |"
    ]
    assert text.endswith("\n")
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()[:3]}
    assert bars == {12}


def test_the_page_has_the_charts_of_a_run_with_marks_and_units(page: Node) -> None:
    charts = [image for image in page.all("svg") if image.attributes.get("role") == "img"]
    names = {image.attributes["aria-labelledby"].split("-title")[0] for image in charts}
    for name in ("tradeoff", "top1", "drop", "gain", "ratio", "size", "training"):
        assert {f"{name}-760", f"{name}-360"} <= names
    for image in charts:
        assert image.one("desc").text
        assert {"mark", "bar", "curve"} & {look for node in image.walk() for look in node.classes}
        assert all("(" in node.text for node in image.all("text", "label"))


def test_the_page_begins_with_the_verdict_of_each_run(
    page: Node, found: Comparison, runs: list[Run]
) -> None:
    (verdicts,) = page.one("main").all("ul", "verdicts")
    assert [item.text for item in verdicts.all("li")] == ["Failed a/1", "Failed b/1"]
    unjudged = found.model_copy(
        update={"runs": tuple(run.model_copy(update={"state": None}) for run in found.runs)}
    )
    (verdicts,) = read(compare_page.html(unjudged, runs)).all("ul", "verdicts")
    assert [item.text for item in verdicts.all("li")] == ["Not judged a/1", "Not judged b/1"]


def test_the_page_has_no_two_ids_alike(page: Node) -> None:
    ids = Counter(node.attributes["id"] for node in page.walk() if "id" in node.attributes)
    assert [name for name, count in ids.items() if count > 1] == []


def test_the_pages_first_table_is_sorted_by_what_is_shown(page: Node) -> None:
    rows = page.all("table")[0].one("tbody").all("tr")
    assert [row.children[0].text for row in rows][-1] == "b/1: onnx-int8"
    drop = rows[-1].children[3]
    assert float(drop.attributes["data-order"]) == pytest.approx(3.4)
