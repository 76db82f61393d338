"""What a run holds beside its own records: times of layers, sensitivity, landscape."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core import records, run_folder
from edgekd.core.errors import RecordError
from edgekd.core.run_folder import Run
from edgekd.report import html
from tests.report import landscapes, test_sensitivity
from tests.report.conftest import judged
from tests.report.reading import Node, read

TIMES = (
    ("linear/Gemm", 0.02, "fp32"),
    ("conv1/Conv + conv1.relu/Relu", 0.3, "int8"),
    ("reshape", 0.08, ""),
)


@pytest.fixture
def own(tmp_path: Path) -> Run:
    """A run whose onnx-int8 had its layers timed."""
    run = judged(tmp_path / "1")
    time(run, "onnx-int8", TIMES)
    return run


def time(run: Run, name: str, times: tuple[tuple[str, float, str], ...]) -> Path:
    folder = run_folder.layers(run.folder) / name
    shutil.copytree(run.folder / "profile", folder)
    rows = [
        {"name": layer, "timeMs": 50 * ms, "averageMs": 2 * ms, "medianMs": ms, "percentage": 1.0,
         "precision": precision}
        for layer, ms, precision in times
    ]  # fmt: skip
    (folder / "layers.json").write_text(json.dumps([{"count": 50}, *rows]))
    return folder


def section(run: Run, name: str) -> Node:
    page = read(html.html(run))
    return next(node for node in page.all("section") if node.attributes.get("id") == name)


def rows(run: Run) -> list[list[str]]:
    body = section(run, "layers").all("tbody")[0]
    return [[cell.text for cell in row.children] for row in body.all("tr")]


def test_layers_are_listed_by_their_median_time_with_their_share(own: Run) -> None:
    assert [row[:3] for row in rows(own)] == [
        ["conv1/Conv + conv1.relu/Relu", "0.300", "75 %"],
        ["reshape", "0.0800", "20 %"],
        ["linear/Gemm", "0.0200", "5.0 %"],
    ]
    assert "onnx-int8 on host-cpu by onnxruntime 1.31.1" in section(own, "layers").text


def test_the_precision_is_that_of_the_layer_which_ran_or_not_said(own: Run) -> None:
    assert [row[3] for row in rows(own)] == ["INT8", "not said", "FP32"]
    told = "Time by precision: INT8 75 %, not said 20 % and FP32 5.0 %."
    assert told in [node.text for node in section(own, "layers").all("p")]


def test_a_conversion_is_neither_float_nor_int8(own: Run) -> None:
    folder = time(own, "converting", (("q", 0.1, "fp32 to int8"), ("dq", 0.3, "int8 to fp32")))
    shutil.rmtree(folder.with_name("onnx-int8"))
    assert [row[3] for row in rows(own)] == ["INT8 to FP32", "FP32 to INT8"]
    assert "Time by precision: converting 100 %." in section(own, "layers").text


def test_times_without_any_precision_say_so(own: Run) -> None:
    folder = time(own, "old", (("conv", 0.1, ""),))
    shutil.rmtree(folder.with_name("onnx-int8"))
    assert "The engine does not say in which precision" in section(own, "layers").text
    assert [row[3] for row in rows(own)] == ["not said"]


def test_every_file_whose_layers_were_timed_has_a_table_of_its_own(own: Run) -> None:
    time(own, "onnx-fp32", (("conv1/Conv", 0.5, "fp32"),))
    found = section(own, "layers")
    assert len(found.all("table")) == len(found.all("h3")) == 2
    ids = [node.attributes["id"] for node in found.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))


def test_what_a_layer_costs_in_int8_stands_beside_its_time(own: Run) -> None:
    found = test_sensitivity.record(target="onnx-int8", parents=own.artifacts["onnx-int8"].parents)
    shown = {row[0]: row[4:] for row in rows(replace(own, sensitivity=found))}
    assert shown == {
        "conv1/Conv + conv1.relu/Relu": ["0.0125", "1.50 [0.25, 3.00]"],
        "linear/Gemm": ["", ""],
        "reshape": ["", ""],
    }


@pytest.mark.parametrize("change", [{"target": "tensorrt-int8"}, {"parents": ("f" * 64,)}])
def test_the_sensitivity_of_another_network_or_target_does_not(
    own: Run, change: dict[str, object]
) -> None:
    same = {"target": "onnx-int8", "parents": own.artifacts["onnx-int8"].parents}
    found = test_sensitivity.record(**(same | change))
    assert {len(row) for row in rows(replace(own, sensitivity=found))} == {4}


def test_times_that_cannot_be_read_are_named(own: Run) -> None:
    (run_folder.layers(own.folder) / "onnx-int8" / "layers.json").write_text("[]")
    assert "layers.json' does not hold the times of layers" in section(own, "layers").text


def test_sensitivity_and_landscape_in_the_run_are_shown_on_its_page(own: Run) -> None:
    records.write(test_sensitivity.record(), own.folder / "sensitivity" / "sensitivity.json")
    records.write(landscapes.landscape(), own.folder / "landscape" / "landscape.json")
    page = read(html.html(run_folder.read(own.folder)))
    ids = [node.attributes["id"] for node in page.walk() if "id" in node.attributes]
    assert {"layers", "sensitivity", "landscape", "sensitivity-760-title", "line-760-title"} <= {
        *ids
    }
    assert len(ids) == len(set(ids))


def test_without_them_the_page_has_no_such_sections(tmp_path: Path) -> None:
    page = read(html.html(judged(tmp_path / "1")))
    ids = {node.attributes.get("id") for node in page.all("section")}
    assert not ids & {"layers", "sensitivity", "landscape"}


def test_a_damaged_one_is_refused_with_its_name(own: Run) -> None:
    (own.folder / "sensitivity").mkdir()
    (own.folder / "sensitivity" / "sensitivity.json").write_text("{}")
    with pytest.raises(RecordError, match=r"sensitivity.json' is no Sensitivity record"):
        run_folder.read(own.folder)
