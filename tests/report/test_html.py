"""The page as a whole: what a reader, a screen reader and a browser without network need."""

import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core import records, run_folder
from edgekd.core.run_folder import REFERENCE, Run
from edgekd.report import facts, html, words
from tests import builders
from tests.report.conftest import judged
from tests.report.reading import Node, read

HOSTILE = "<script>alert('x')</script>\"&amp;"
MARKS = {"mark", "bar", "bin", "cell", "curve"}
UNIT = re.compile(r"\((%|pp|ms|MiB|KiB|ratio|unitless|number|images|class|mJ|W|s|sd)\)")


def charts(page: Node) -> list[Node]:
    return [image for image in page.all("svg") if image.attributes.get("role") == "img"]


def tables(page: Node) -> dict[str, list[list[str]]]:
    """Return each table's cells by its caption."""
    return {
        table.one("caption").text: [
            [cell.text for cell in row.children] for row in table.one("tbody").all("tr")
        ]
        for table in page.all("table")
    }


def test_the_verdict_comes_first_in_words(page: Node) -> None:
    main = page.one("main")
    first = main.all("section")[0]
    assert first.attributes["id"] == "verdict"
    assert "failed" in first.classes
    assert first.one("h2").text == "Verdict: Failed"
    assert page.one("head").one("title").text == "Failed: made by hand"


def test_what_stands_in_the_way_of_a_pass_is_said_beside_the_verdict(run: Run, page: Node) -> None:
    assert run.verdict is not None
    reasons = [node.text for node in page.all("section")[0].all("li")]
    assert reasons == [
        " ".join(finding.message.split())
        for finding in run.verdict.findings
        if finding.state != "passed" and not finding.informative
    ]
    assert len(reasons) == 2


def test_a_pass_says_that_whole_intervals_lie_within_the_limits(tmp_path: Path) -> None:
    run = judged(tmp_path / "1", gate={"top1_drop_pp": {"margin": 2.0}})
    verdict = read(html.html(run)).all("section")[0]
    assert "passed" in verdict.classes
    assert verdict.one("p").text == (
        "All 2 findings that decide lie within their limits, whole intervals included."
    )


def test_what_is_only_informative_does_not_stand_beside_the_verdict(run: Run) -> None:
    assert run.verdict is not None
    findings = tuple(f.model_copy(update={"informative": True}) for f in run.verdict.findings)
    verdict = run.verdict.model_copy(update={"findings": findings})
    page = read(html.html(replace(run, verdict=verdict)))
    assert page.all("section")[0].all("li") == []


def test_every_chart_has_marks_a_title_a_description_and_axes_with_units(page: Node) -> None:
    found = charts(page)
    assert len(found) > 20
    for image in found:
        name = image.attributes["aria-labelledby"]
        assert any(MARKS & set(node.classes) for node in image.walk()), name
        assert image.all("title")[0].text, name
        assert image.one("desc").text, name
        labels = [node.text for node in image.all("text", "label")]
        assert labels, name
        assert all(UNIT.search(label) for label in labels), labels


def test_every_kind_of_chart_is_there(page: Node) -> None:
    names = {image.attributes["aria-labelledby"].split("-title")[0] for image in charts(page)}
    wanted = [
        "rules-pp", "rules-ratio", "ladder-top1", "ladder-drop", "tradeoff", "latency", "size",
        "classes", "confusion",
    ]  # fmt: skip
    for name in wanted:
        assert {f"{name}-760", f"{name}-360"} <= names
    for place in range(3):
        assert f"histogram-{place}-360" in names
    for part in ("loss", "accuracy", "rate", "gradient"):
        assert {f"training-0-{part}-360", f"training-1-{part}-360"} <= names


def test_no_two_elements_have_the_same_id_and_every_anchor_leads_somewhere(page: Node) -> None:
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for node in page.all("a"):
        assert node.attributes["href"].removeprefix("#") in ids
    for node in page.walk():
        for name in node.attributes.get("aria-labelledby", "").split():
            assert name in ids


def test_nothing_is_loaded_from_anywhere(text: str, page: Node) -> None:
    for node in page.walk():
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            assert node.attributes.get(name, "#").startswith(("#", "data:,", "data:image/png;"))
    assert not page.all("iframe") + page.all("object")
    policy = next(node for node in page.all("meta") if "http-equiv" in node.attributes)
    assert policy.attributes["content"].startswith("default-src 'none';")
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}


def test_headings_are_in_order(page: Node) -> None:
    levels = [int(n.tag[1]) for n in page.walk() if n.tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_tables_have_captions_and_scopes(page: Node) -> None:
    assert len(page.all("table")) >= 6
    for table in page.all("table"):
        assert table.one("caption").text
        assert {head.attributes["scope"] for head in table.one("thead").all("th")} == {"col"}
        for row in table.one("tbody").all("tr"):
            assert row.children[0].attributes["scope"] == "row"
            assert len(row.children) == len(table.one("thead").all("th"))


def test_the_page_can_be_used_by_keyboard_and_says_its_language(page: Node) -> None:
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("a", "skip").attributes["href"] == "#main"
    assert page.one("main").attributes["id"] == "main"
    for region in page.all("div", "scroll"):
        assert region.attributes["tabindex"] == "0"
        assert region.attributes["aria-label"]


def test_the_ladder_is_the_records(run: Run, page: Node) -> None:
    assert run.ladder is not None
    rows = tables(page)["The ladder in numbers; intervals at 95 %."]
    for rung, row in zip(run.ladder.rungs, rows, strict=True):
        drop = "" if rung.drop_pp is None else words.estimate(rung.drop_pp, 2)
        assert row[:3] == [rung.name, words.estimate(rung.accuracy, 2), drop]
        assert row[4:] == [words.macs(rung.macs), words.size(rung.bytes)]
    assert rows[3][3] == "+50.50 pp, p < 0.001"


def test_the_rules_are_the_records(run: Run, page: Node) -> None:
    rows = tables(page)[
        "Each rule passes only if the whole interval lies on the right side of its limit."
    ]
    assert run.verdict is not None
    measured = run.verdict.findings[0].measured
    assert measured is not None
    assert rows[0] == [
        "top-1 drop", "onnx-fp32", "0.20 pp", f"[{measured.low:.2f}, {measured.high:.2f}]", "90 %",
        "≤ 1 pp", "Passed",
    ]  # fmt: skip
    assert [row[-1] for row in rows] == [
        "Passed", "Inconclusive", "Failed", "Passed", "Passed", "Passed",
    ]  # fmt: skip
    assert rows[4][0] == "size ratio (informative)"
    assert rows[4][2:4] == ["0.12x", "exact"]


def test_the_latencies_are_the_records(run: Run, page: Node) -> None:
    assert run.measurement is not None
    caption = next(name for name in tables(page) if name.startswith("onnxruntime"))
    assert "batch 1, 1 thread, 300 inferences each" in caption
    for timing, row in zip(run.measurement.timings, tables(page)[caption], strict=True):
        assert timing.p99_ms is not None
        assert row[0] == timing.subject
        assert row[1] == words.estimate(timing.p50_ms, 3)
        assert row[2:4] == [f"{t.value:.3g}" for t in (timing.p90_ms, timing.p99_ms)]
    assert [row[5] for row in tables(page)[caption]] == ["100 %", "33 %", "33 %"]


def test_the_cards_are_the_records(page: Node) -> None:
    first, second = page.all("li", "card")
    assert first.one("h3").text == "onnx-fp32 Failed"
    values = dict(zip([n.text for n in first.all("dt")], first.all("dd"), strict=True))
    assert values["top-1"].text == "94.80 %"
    assert values["top-1 drop"].text == "0.20 pp [-0.60, 1.04]"
    assert values["size"].text == "0.12x exact"
    assert values["MACs"].text == "33 % exact"
    assert second.one("h3").text == "onnx-int8 Inconclusive"


def chart(page: Node, name: str) -> Node:
    return next(c for c in charts(page) if c.attributes["aria-labelledby"].startswith(name))


def test_a_collapse_does_not_squeeze_the_drops_of_what_ships(page: Node) -> None:
    drops = chart(page, "ladder-drop-760")
    assert [n.one("title").text.split(":")[0] for n in drops.all("path", "mark")][:3] == [
        "pruned", "recalibrated", "classifier",
    ]  # fmt: skip
    middle = [n for n in drops.all("text", "tick") if n.attributes.get("text-anchor") == "middle"]
    assert max(float(node.text) for node in middle) < 5
    assert "An arrow lies beyond the axis." in page.text
    assert len(drops.all("line", "limit")) == 2  # the gate's margin, for each of its artifacts


def test_charts_of_rules_show_every_limit(page: Node) -> None:
    assert len(chart(page, "rules-pp-760").all("line", "limit")) == 2
    assert len(chart(page, "rules-ratio-760").all("line", "limit")) == 4


def test_bars_show_the_size_in_mib(page: Node) -> None:
    bars = chart(page, "size-760")
    first, *_, last = bars.all("text", "tick")
    px_per_mib = (last.number("x") - first.number("x")) / float(last.text)
    assert bars.all("rect", "bar")[0].number("width") == pytest.approx(
        3_400_000 / 2**20 * px_per_mib, abs=0.2
    )


def test_small_files_are_shown_in_kib(run: Run) -> None:
    artifacts = {
        name: artifact.model_copy(update={"bytes": 10 * 2**10})
        for name, artifact in run.artifacts.items()
    }
    image = chart(read(html.html(replace(run, artifacts=artifacts))), "size-760")
    assert image.one("text", "label").text == "size (KiB)"
    assert image.all("text", "tick")[-1].text == "10"


def test_a_model_looks_the_same_in_every_chart_and_unlike_another(page: Node) -> None:
    looks = {}
    for name in ("size-760", "latency-760", "histogram-1-360", "tradeoff-760"):
        image = chart(page, name)
        for node in image.walk():
            tip = node.one("title").text if node.children else ""
            for subject in (REFERENCE, "onnx-fp32", "onnx-int8"):
                if tip.startswith(f"{subject}: "):
                    looks.setdefault(subject, set()).add(node.classes[1])
    assert looks == {REFERENCE: {"s0"}, "onnx-fp32": {"s1"}, "onnx-int8": {"s2"}}


def test_training_curves_show_each_term_and_the_kept_epoch(page: Node) -> None:
    loss = chart(page, "training-0-loss")
    assert [node.text for node in loss.all("text", "ink")] == ["ce", "kd"]
    assert loss.one("desc").text == "ce ends at 0.3333; kd ends at 0.1667"
    heights = [step.split()[1] for step in loss.all("path", "curve")[0].attributes["d"].split("L")]
    assert sorted(heights, key=float) == heights  # the loss falls: further down is more px
    assert len(set(heights)) == 3
    gradient = chart(page, "training-0-gradient")
    assert gradient.one("desc").text == "ce ends at 0.2; kd ends at 0.3"
    accuracy = chart(page, "training-0-accuracy")
    assert accuracy.one("desc").text == "from 91 to 93 over 3 epochs"
    assert "kept: epoch 3" in accuracy.text
    assert chart(page, "training-0-rate").one("desc").text == "from 0.02 to 0.006667 over 3 epochs"
    section = next(s for s in page.all("section") if s.attributes["id"] == "training")
    assert [node.text for node in section.all("h3")] == ["classifier", "deep"]
    assert "3 epochs in 4.5 s. Epoch 3 was kept: 93.00 % of the validation images right." in (
        section.text
    )


def test_training_that_helped_nothing_says_which_weights_were_kept(run: Run) -> None:
    trainings = {
        name: training.model_copy(update={"best_epoch": 0})
        for name, training in run.trainings.items()
    }
    page = read(html.html(replace(run, trainings=trainings)))
    section = next(s for s in page.all("section") if s.attributes["id"] == "training")
    assert "No epoch was better than the weights at the start" in section.text
    assert "kept: epoch" not in section.text


def test_every_term_is_shown_with_value_weight_and_gradient(page: Node) -> None:
    rows = next(rows for name, rows in tables(page).items() if name.startswith("classifier: means"))
    assert rows[0] == ["1", "ce", "1", "1", "1", "0.2"]
    assert rows[3] == ["2", "kd", "1", "0.25", "0.25", "0.3"]
    assert len(rows) == 6


def test_shock_and_drift_are_said_of_every_stage(page: Node) -> None:
    section = next(s for s in page.all("section") if s.attributes["id"] == "training")
    assert section.text.count("3.00 times as strongly") == 2
    assert section.text.count("by 0.2500 on a scale") == 2


def test_a_stage_without_labels_shows_the_agreement_with_the_teacher(run: Run) -> None:
    found = run.trainings["deep"]
    blind = {"validation_top1_percent": None, "validation_agreement_percent": 98.0}
    epochs = tuple(epoch.model_copy(update=blind) for epoch in found.epochs)
    training = found.model_copy(update={"epochs": epochs})
    page = read(html.html(replace(run, trainings={"deep": training})))
    image = chart(page, "training-0-accuracy")
    assert "same class as the teacher (%)" in image.text
    assert "top-1" not in image.text
    section = next(s for s in page.all("section") if s.attributes["id"] == "training")
    assert "it agrees with the teacher on 98.00 % of the validation images" in section.text


def test_the_control_arm_has_a_section_only_where_there_is_one(page: Node, tmp_path: Path) -> None:
    assert "control" not in [node.attributes["id"] for node in page.all("section")]
    arms = {
        "control-classifier": builders.Step(lost=90),
        "control": builders.Step(lost=40, gained=6),
    }
    other = read(html.html(judged(tmp_path / "1", control=arms)))
    section = next(s for s in other.all("section") if s.attributes["id"] == "control")
    assert "Distilling is worth +3.20 pp" in section.text
    image = chart(other, "control-760")
    assert [node.text for node in image.all("text", "ink")] == ["distilled", "labels alone"]
    assert "as good as the labels alone" in image.text
    ladder = next(rows for name, rows in tables(other).items() if name.startswith("The ladder"))
    assert ladder[-1][0] == "control"


def test_histograms_count_every_sample(page: Node) -> None:
    for place in range(3):
        image = chart(page, f"histogram-{place}-")
        counted = sum(int(bar.text.rpartition(": ")[2]) for bar in image.all("rect", "bin"))
        beyond = [node.text.split()[0] for node in image.all("text") if "beyond" in node.text]
        assert counted + sum(int(count) for count in beyond) == builders.BLOCKS * builders.RUNS


def test_every_sentence_about_speed_and_every_doubt_is_shown(run: Run) -> None:
    assert run.measurement is not None
    warm = run.measurement.model_copy(update={"warnings": ("too warm", "too loud")})
    doubtful = replace(run, measurement=warm)
    page = read(html.html(doubtful))
    aside = page.one("aside")
    assert [node.text for node in aside.all("li")] == facts.doubts(doubtful)
    notes = [node.text for node in page.all("p", "note")]
    assert all(sentence in notes for sentence in facts.speed_sentences(doubtful))


def test_a_quiet_run_has_no_box_of_doubts(page: Node) -> None:
    assert not page.all("aside")


def test_sorting_is_by_number_where_there_is_one(page: Node) -> None:
    ladder = next(t for t in page.all("table") if t.one("caption").text.startswith("The ladder"))
    cells = [row.children[5] for row in ladder.one("tbody").all("tr")]
    assert cells[1].attributes["data-order"] == "3400000"
    first_drop = ladder.one("tbody").all("tr")[0].children[2]
    assert first_drop.attributes["data-order"] == "inf"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    folder = builders.make_run(tmp_path / "1")
    path = run_folder.checkpoint(folder, "teacher") / "checkpoint.json"
    names = (HOSTILE, *(f"{HOSTILE}{index}" for index in range(1, builders.CLASSES)))
    builders.change(records.Checkpoint, path, class_names=names, model=HOSTILE)
    builders.conclude(folder)
    run = run_folder.read(folder)
    assert run.ladder is not None
    assert run.measurement is not None
    measurement = run.measurement.model_copy(update={"engine": HOSTILE, "warnings": (HOSTILE,)})
    page = read(html.html(replace(run, measurement=measurement)))
    assert len(page.all("script")) == 1
    assert "alert" not in page.one("script").text
    assert HOSTILE in page.one("aside").text
    rows = next(rows for name, rows in tables(page).items() if name.startswith("Accuracy of every"))
    assert {row[0] for row in rows} == set(names)
    for node in page.walk():
        assert not [name for name in node.attributes if name.startswith("on")]


@pytest.mark.parametrize(
    "missing",
    ["checkpoints", "trainings", "artifacts", "accuracies", "measurement", "ladder", "verdict"],
)
def test_whatever_is_missing_is_said_and_no_chart_is_empty(run: Run, missing: str) -> None:
    empty = {} if missing in {"checkpoints", "trainings", "artifacts", "accuracies"} else None
    page = read(html.html(replace(run, **{missing: empty})))
    assert page.one("h1").text == "made by hand"
    for image in charts(page):
        assert any(MARKS & set(node.classes) for node in image.walk())
    for section in page.one("main").all("section")[1:]:
        assert len(section.children) > 1, section.attributes["id"]


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "recipe.json").write_text("{}")
    page = read(html.html(run_folder.read(folder)))
    assert page.one("head").one("title").text == "Not judged: Run 7"
    assert charts(page) == []
    notes = [node.text for node in page.all("p", "note")]
    assert len(notes) == 8
    assert len(set(notes)) == 8


def test_predictions_that_were_changed_are_reported_in_their_place(tmp_path: Path) -> None:
    run = judged(tmp_path / "1")
    (tmp_path / "1" / "accuracy" / "onnx-int8.npz").write_bytes(b"changed")
    page = read(html.html(run))
    section = next(s for s in page.all("section") if s.attributes["id"] == "classes")
    assert "was changed after its record was written" in section.text
    assert not charts(section)


def test_samples_that_are_missing_are_reported_in_their_place(tmp_path: Path) -> None:
    run = judged(tmp_path / "1")
    (tmp_path / "1" / "profile" / "samples.npz").unlink()
    page = read(html.html(run))
    section = next(s for s in page.all("section") if s.attributes["id"] == "latency")
    assert "The single samples cannot be shown" in section.text
    assert [image.attributes["aria-labelledby"].split("-")[0] for image in charts(section)] == [
        "latency", "latency",
    ]  # fmt: skip


def test_classes_are_compared_by_hand(tmp_path: Path, page: Node) -> None:
    rows = next(rows for name, rows in tables(page).items() if name.startswith("Accuracy of every"))
    # Images go round the ten classes; the student loses images 0 to 10 and gains the last six.
    assert min(rows) == ["0", "100", "95.0", "93.0", "-2.0"]
    assert max(rows) == ["9", "100", "95.0", "95.0", "0.0"]
    section = next(s for s in page.all("section") if s.attributes["id"] == "classes")
    assert "11 images lost, 6 gained" in section.text
    assert rows[0][0] == "0"  # changed most


def test_the_chain_leads_from_the_verdict_to_the_teacher(run: Run, page: Node) -> None:
    rows = tables(page)["From the verdict back to the teacher: what each file was made from."]
    made = {row[0]: row for row in rows}
    assert made["teacher"][4] == "nothing"
    assert made[REFERENCE][4] == "teacher"
    assert made["onnx-int8"][4] == "deep"
    assert made["accuracy of onnx-int8"][4] == "onnx-int8"
    assert "accuracy of onnx-int8" in made["ladder"][4]
    assert made["onnx-int8"][3] == run.artifacts["onnx-int8"].sha256[:12]


def test_the_page_is_small(text: str) -> None:
    assert len(text.encode()) < 400_000  # the limit is 1 MB, for a run with more stages


def test_the_page_depends_on_the_records_alone(run: Run, text: str) -> None:
    assert html.html(run) == text


def test_the_page_is_written_as_utf_8(run: Run, text: str, tmp_path: Path) -> None:
    html.write(run, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == text.encode()


def test_rules_of_every_unit_have_their_limit_and_their_chart(run: Run) -> None:
    assert run.verdict is not None
    finding = run.verdict.findings[0]
    kinds = (("agreement_percent", "%", 95.0, "at least"), ("latency_p99_ms", "ms", 2.5, "at most"))
    findings = tuple(
        finding.model_copy(update={"rule": rule, "unit": unit, "limit": limit, "bound": bound})
        for rule, unit, limit, bound in kinds
    )
    verdict = run.verdict.model_copy(update={"findings": findings})
    page = read(html.html(replace(run, verdict=verdict)))
    rows = next(rows for name, rows in tables(page).items() if name.startswith("Each rule"))
    assert [(row[0], row[5]) for row in rows] == [
        ("agreement with the teacher", "≥ 95 %"), ("latency p99", "≤ 2.5 ms"),
    ]  # fmt: skip
    names = {image.attributes["aria-labelledby"].split("-title")[0] for image in charts(page)}
    assert {"rules-percent-760", "rules-ms-760"} <= names


def test_what_to_know_of_a_measurement_is_said_beside_it(run: Run) -> None:
    assert run.measurement is not None
    told = {"power_mode": "15W", "notes": ("clocks were not locked", "too few samples for p99.9")}
    page = read(html.html(replace(run, measurement=run.measurement.model_copy(update=told))))
    quiet = [node.text for node in page.all("p", "quiet")]
    assert "Power mode: 15W." in quiet
    assert "To know: clocks were not locked; too few samples for p99.9." in quiet
