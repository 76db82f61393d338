"""``edgekd explain-int8`` on the example's files."""

import json
from pathlib import Path

from tests.cli.conftest import Command

EXAMPLES = Path(__file__).parents[1] / "data" / "engines"
FILES = EXAMPLES / "layers_10.json", EXAMPLES / "profile.json"


def test_the_verdict_comes_first_then_the_table_then_what_to_do(edgekd: Command) -> None:
    status, out, err = edgekd("explain-int8", *FILES, "--top", 3)
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("Conversions and copies cost most: 33% of 0.702 ms.")
    assert lines[2].split() == ["ms", "share", "type", "what", "layer", "note"]
    assert [line.split()[1] for line in lines[3:6]] == ["21.2%", "13.1%", "12.4%"]
    assert lines[7] == "What to do:"
    assert lines[8].startswith("1. 33.1% of the time: 4 layers that only convert or copy")
    assert "and 8 shorter layers, 53.3% of the time" in err


def test_json_holds_every_layer(edgekd: Command) -> None:
    status, out, _ = edgekd("explain-int8", *FILES, "--json")
    found = json.loads(out)
    assert status == 0
    assert len(found["rows"]) == 11
    assert found["rows"][0]["modules"] == ["layer1.0.conv2"]
    assert found["causes"][0]["kind"] == "reformat"


def test_files_for_the_viewer_are_written_where_asked(edgekd: Command, tmp_path: Path) -> None:
    status, _, err = edgekd("explain-int8", *FILES, "--viewer", tmp_path / "trex")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "trex").iterdir()) == [
        "engine.graph.json", "engine.profile.json",
    ]  # fmt: skip
    assert "engine.graph.json" in err


def test_what_cannot_be_read_is_status_2(edgekd: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    cases = [
        ([tmp_path / "none.json", FILES[1]], "cannot be read"),
        ([tmp_path / "broken.json", FILES[1]], "is not JSON"),
        ([FILES[0], FILES[0]], "one object with 'count'"),
        ([*FILES, "--model", tmp_path / "broken.json"], "is not an ONNX file"),
    ]
    for arguments, message in cases:
        status, _, err = edgekd("explain-int8", *arguments)
        assert (status, message in err) == (2, True), err


def test_the_page_shows_what_the_command_prints(edgekd: Command) -> None:
    page = (Path(__file__).parents[2] / "docs" / "explain-int8.md").read_text()
    _, out, _ = edgekd("explain-int8", *FILES)
    assert f"```text\n{out}```\n" in page
