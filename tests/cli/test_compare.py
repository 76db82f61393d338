"""``edgekd compare`` on folders of runs."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.report.conftest import judged


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("runs")
    return [judged(base / name).folder for name in ("one", "two")]


def test_compare_prints_tables_and_writes_page_and_markdown(
    edgekd: Command, folders: list[Path], tmp_path: Path
) -> None:
    page, markdown = tmp_path / "c.html", tmp_path / "c.md"
    status, out, err = edgekd("compare", *folders, "--out", page, "--markdown", markdown)
    assert status == 0
    assert "  onnx-int8  94.50 [92.91, 95.75]" in out
    assert f"page: {page}" in err
    assert "Runs one and two side by side" in page.read_text()
    assert markdown.read_text().startswith("| run | file |")


def test_compare_prints_json(edgekd: Command, folders: list[Path]) -> None:
    status, out, _ = edgekd("compare", *folders, "--json")
    assert status == 0
    found = json.loads(out)
    assert [run["name"] for run in found["runs"]] == ["one", "two"]
    assert found["entries"][-1]["gain_pp"]["value"] == 0


def test_compare_refuses_a_folder_without_a_run(
    edgekd: Command, folders: list[Path], tmp_path: Path
) -> None:
    status, out, err = edgekd("compare", folders[0], tmp_path)
    assert (status, out) == (2, "")
    assert "is not a run's folder" in err


def test_compare_refuses_records_of_another_schema(
    edgekd: Command, folders: list[Path], tmp_path: Path
) -> None:
    other = judged(tmp_path / "three").folder
    path = other / "verdict.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 7}))
    status, _, err = edgekd("compare", folders[0], other)
    assert status == 2
    assert "verdict.json" in err
    assert "schema" in err
